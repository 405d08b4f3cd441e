"""`archsweep guide`: its sweep, its commands and its Python are carried out as they are written."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from results.store.run_layout import IN_RUN_DIR as files
from runners.cli import main
from runners.cli.app import app

GUIDE = (Path(__file__).parents[3] / "runners" / "cli" / "guide.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def called(command: str) -> int:
    before = sys.argv
    sys.argv = shlex.split(command, comments=True)
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def test_it_is_printed_as_it_is_shipped_and_short(capsys):
    assert called("archsweep guide") == 0
    assert capsys.readouterr().out == GUIDE
    assert len(GUIDE.splitlines()) < 100


@pytest.mark.slow
def test_everything_in_it_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ARCHSWEEP_CACHE", raising=False)
    (sweep,), (commands,), (program,) = blocks("yaml"), blocks("sh"), blocks("python")
    Path("sweep.yaml").write_text(sweep)
    for command in commands.strip().splitlines():
        assert called(command) == 0, command
        assert capsys.readouterr().out.strip(), command
    exec(program, {})
    assert "attention=reattention" in capsys.readouterr().out
    for name in re.findall(r"`archsweep ([a-z]+)[^`]*`", GUIDE.replace("archsweep VERB", "")):
        with pytest.raises(SystemExit) as end:
            helped(name)
        assert end.value.code == 0, name


def helped(verb: str) -> None:
    """`archsweep VERB --help`: the verb exists."""
    app([verb, "--help"])


def test_every_file_it_names_is_in_the_run_directory():
    """Names of the table of files, against those of results/store/run_layout.py."""
    section = GUIDE.partition("## Files of a run")[2].partition("##")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", section, re.M) for name in re.findall(r"`([\w./]+)`", row)}
    known = {
        str(getattr(files, name)) for name in ("ledger", "plan", "trials_csv", "curves_csv", "sweep", "provenance")
    }
    known |= {"table.csv", ".md", ".tex", ".html", f"{files.trial('ID').path}/"}
    assert named == known
