"""docs/extending.md carried out to the letter: a plug-in from outside in an empty folder, and what is added to
archsweep in a copy of the repository, where it passes the contract tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
# A block of the page that is a file or a change of one, and the step's command.
OUTSIDE, _, INSIDE = PAGE.partition("## Adding to archsweep itself\n")
FILES = re.findall(r'```(python|diff) title="(.*?)"\n(.*?)```', INSIDE, re.DOTALL)
STEPS = re.findall(r'```(sh|diff|yaml)(?: title="(.*?)")?\n(.*?)```', OUTSIDE, re.DOTALL)
COPIED = (
    "archsweep",
    "search_space",
    "modelzoo",
    "results",
    "runners",
    "tests",
    "docs",
    "sweeps",
    "README.md",
    "pyproject.toml",
)
TESTS = (
    "tests/modelzoo/attention",
    "tests/search_space/loading/test_json_schema.py",
    "tests/search_space/loading/test_docs.py",
    "tests/test_rooms.py",
)


def changed(text: str, diff: str) -> str:
    """The text after a diff without line numbers: the lines before each hunk's change must be there exactly once."""
    for hunk in diff.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if not line.startswith("+"))
        assert text.count(before) == 1, before
        text = text.replace(before, "".join(line[1:] for line in lines if not line.startswith("-")))
    return text


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The repository with everything that the page says."""
    copy = tmp_path_factory.mktemp("extended")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    for language, name, block in FILES:
        path = copy / name
        assert path.exists() == (language == "diff"), name
        path.write_text(changed(path.read_text(encoding="utf-8"), block) if language == "diff" else block)
    schema = python(copy, "-c", "import runners.cli; runners.cli.main()", "schema")
    assert "archsweep schema > search_space/sweep.schema.json\n" in PAGE
    (copy / "search_space" / "sweep.schema.json").write_text(schema.stdout)
    return copy


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_plugin_from_outside(tmp_path):
    """Each command as it is written, each file as it is shown."""
    archsweep = ("-c", "import runners.cli; runners.cli.main()")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    shown = []
    for language, name, block in STEPS:
        if language == "yaml":
            (tmp_path / name).write_text(block)
        elif language == "diff":
            (tmp_path / name).write_text(changed((tmp_path / name).read_text(), block))
        else:
            for line in block.splitlines():
                program, *words = line.split()
                start = archsweep if program == "archsweep" else ()
                done = subprocess.run(
                    [sys.executable, *start, *words],
                    cwd=tmp_path,
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
                shown.append(done.stdout)
    assert len(shown) == 5
    assert "2 passed" in shown[1]
    assert "2 passed" in shown[2]
    lines = (tmp_path / "runs" / "gates" / "ledger.jsonl").read_text().splitlines()
    ended = Counter((record["variant"], record["status"]) for record in map(json.loads, lines))
    names = ("baseline", "attention=gated", "attention=gated, temperature=2")
    assert ended == {(name, "completed"): 2 for name in names}


def test_the_page_has_the_files_of_every_step():
    assert len(FILES) == 6


def test_what_the_page_adds_passes_the_tests(copy):
    chosen = "talking_heads or options or table or schema or format or page or order or idea or arrows or circle"
    done = python(copy, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", chosen, *TESTS)
    assert "test_talking_heads.py::" in done.stdout
    assert " failed" not in done.stdout


def test_what_the_page_adds_keeps_the_style(copy):
    python(copy, "-m", "ruff", "check", "--no-cache", ".")
    python(copy, "-m", "ruff", "format", "--no-cache", "--check", ".")
