"""A verb imports what it needs and no more, so that it answers at once; the table of verbs says what they are."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from runners.cli.launch_slurm import app
from runners.cli.verbs import BRIEF, VERBS, loaded

ROOT = Path(__file__).parents[3]
SWEEP = "name: light\nbaseline: {}\nspace: {arch.depth: [2, 4]}\ndesign: factorial\n"
TRAINING = {"torch", "timm", "sklearn", "ray", "optuna"}
VIEWS = {"pandas", "altair", "jinja2", "rich", "numpy"}
# What each must not import, by the beginnings of names of modules.
BANNED = {
    "--help": TRAINING
    | VIEWS
    | {"pydantic", "yaml", "msgspec", "search_space.schema", "search_space.loading", "results"},
    "check": TRAINING
    | VIEWS
    | {"msgspec", "results", "runners.planning", "runners.launch", "runners.data", "filelock"},
    "status": TRAINING
    | VIEWS
    | {"yaml", "search_space.schema.trial", "results.exporters", "results.stats", "filelock"},
    "ls": TRAINING | VIEWS | {"yaml", "search_space.loading", "results.exporters", "results.layout", "filelock"},
    "table": TRAINING | VIEWS | {"yaml", "search_space.loading", "results.figures"},
    "guide": TRAINING | VIEWS | {"yaml", "results", "search_space.schema", "filelock"},
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("light")
    (folder / "sweep.yaml").write_text(SWEEP)
    (folder / "run").mkdir()
    variant = {"name": "baseline", "variant_id": "v", "is_baseline": True}
    plan = {"sweep": "light", "design": "list", "metric": "top1", "seeds": [0], "variants": [variant]}
    (folder / "run" / "plan.json").write_text(json.dumps(plan))
    record = {"trial_id": "t", "variant_id": "v", "variant": "baseline", "seed": 0, "spec": {"seed": 0}}
    (folder / "run" / "ledger.jsonl").write_text(
        json.dumps({**record, "status": "completed", "metrics": {"top1": 90.0}}) + "\n"
    )
    run = [str(folder / "run")]
    return {"check": [str(folder / "sweep.yaml")], "status": run, "ls": run, "table": run}


@pytest.mark.parametrize("verb", BANNED)
def test_a_verb_imports_only_what_it_needs(verb, places):
    code = (
        "import contextlib, io, sys\n"
        "from archsweep.__main__ import main\n"
        f"sys.argv = ['archsweep', {verb!r}, *{places.get(verb, [])!r}]\n"
        "with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):\n"
        "    main()\n"
        "assert shown.getvalue()\n"
        "print(*sys.modules, sep='\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    imported = done.stdout.splitlines()
    assert "runners.cli.app" in imported
    wrong = {name for name in imported for root in BANNED[verb] if name == root or name.startswith(f"{root}.")}
    assert wrong == set()


@pytest.mark.parametrize("name", VERBS)
def test_the_table_says_of_a_verb_what_its_help_begins_with(name):
    assert inspect.cleandoc(loaded(name).help).partition("\n\n")[0].replace("\n", " ") == VERBS[name].about


def test_brief_verbs_are_verbs():
    assert set(VERBS) >= BRIEF


def test_a_verb_on_call_has_the_options_of_the_verb(archsweep, tmp_path):
    """Its own, `--plugin` where it may execute a file, and `-h`; only the command itself installs completions."""
    shown = archsweep("check", "-h", cwd=tmp_path).stdout
    assert all(option in shown for option in ("--profile", "--set", "--study", "--json", "--plugin", "-h, --help"))
    assert "completion" not in shown
    assert "--plugin" not in archsweep("cache", "--help", cwd=tmp_path).stdout


def test_verbs_of_launch_are_found_below_it(archsweep, tmp_path):
    listed = typer.main.get_command(app).commands
    assert sorted(listed) == ["job", "kuberay", "ray-cluster", "slurm", "slurm-array"]
    shown = archsweep("launch", "slurm-array", "--help", cwd=tmp_path).stdout
    # Older versions of typer write an argument without braces.
    assert "archsweep launch slurm-array [OPTIONS] SWEEP" in shown.replace("{", "").replace("}", "")


def test_a_misspelt_verb_gets_a_suggestion(archsweep, tmp_path):
    done = archsweep("chekc", cwd=tmp_path)
    assert done.returncode == 2
    assert "No such command 'chekc'. Did you mean 'check'" in done.stderr


@pytest.mark.parametrize("words", ["archsweep che", "archsweep check --pro"])
def test_a_shell_completes_verbs_and_their_options(words):
    """As bash asks: the words so far, and which of them is to be completed."""
    code = "import sys; sys.argv = ['archsweep']; from archsweep.__main__ import main; main()"
    asked = {"_ARCHSWEEP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env={**asked, "PATH": "/usr/bin:/bin"}
    )
    expected = ["check", "check-data"] if words.endswith("che") else ["--profile"]
    assert done.stdout.split() == expected, done


def test_completion_is_that_of_the_command_however_it_is_called():
    """Installed by `python -m archsweep`, it would be a script that every new shell complains about."""
    done = subprocess.run(
        [sys.executable, "-m", "archsweep", "--show-completion", "bash"],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.endswith("complete -o default -F _archsweep_completion archsweep\n")
    assert "_ARCHSWEEP_COMPLETE=complete_bash" in done.stdout


@pytest.mark.parametrize(("words", "is_on"), [(["serve", "--help"], True), (["serve"], True), (["guide"], False)])
def test_the_collector_is_paused_for_brief_verbs_only(words, is_on):
    """A verb without further words may be one that runs for days."""
    code = (
        "import gc, sys\n"
        "from archsweep.__main__ import main\n"
        "import runners.cli\n"
        "runners.cli.main = lambda: print(gc.isenabled())\n"  # in place of the verb: a server would not end
        f"sys.argv = ['archsweep', *{words!r}]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == str(is_on)
