"""The rooms of the house and the arrows between them (docs/architecture.md)."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ARROWS = {
    "search_space": set(),
    "modelzoo": {"search_space"},
    "results": {"search_space"},
    "runners": {"search_space", "modelzoo", "results"},
}
FOREIGN_TO = {
    "search_space": {"torch", "timm", "ray", "optuna", "numpy"},
    "results": {"torch", "timm", "ray", "optuna"},
}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "core", "manager", "misc"}


def imports_of(path: Path) -> set[str]:
    """Top-level names of everything the file imports, at any depth of its code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_a_room_imports_only_from_where_its_arrows_point(room):
    wrong = {
        str(path.relative_to(ROOT)): sorted(bad)
        for path in (ROOT / room).rglob("*.py")
        if (bad := imports_of(path) & (set(ARROWS) - {room} - ARROWS[room] | FOREIGN_TO.get(room, set())))
    }
    assert wrong == {}


@pytest.mark.parametrize("room", sorted(FOREIGN_TO))
def test_light_rooms_stay_light(room):
    """A fresh interpreter: `archsweep check` and `table` must answer at once."""
    heavy = "{'torch', 'timm', 'ray', 'optuna', 'pandas', 'sklearn'}"
    code = f"import sys, {room}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_command_line_itself_is_light():
    code = "import sys, runners.cli; print(sorted({'torch', 'timm', 'ray', 'optuna', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_verbs_that_look_at_runs_import_none_of_what_trained_them(tmp_path):
    """They answer at once, also on a machine on which nothing could be trained."""
    (tmp_path / "run").mkdir()
    variant = {"name": "baseline", "variant_id": "v", "is_baseline": True}
    plan = {"sweep": "light", "design": "list", "metric": "top1", "seeds": [0, 1], "variants": [variant]}
    (tmp_path / "run" / "plan.json").write_text(json.dumps(plan))
    records = [
        {"trial_id": f"trial{seed}", "variant_id": "v", "variant": "baseline", "seed": seed, "spec": {"seed": seed}}
        | {"status": "completed", "metrics": {"top1": 90.0 + seed}}
        for seed in (0, 1)
    ]
    (tmp_path / "run" / "ledger.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    run = str(tmp_path / "run")
    verbs = [["ls", run], ["diff", run, "trial0", "trial1"], ["watch", run, "--once"], ["status", run], ["table", run]]
    code = (
        "import contextlib, io, sys\n"
        "from runners.cli import main\n"
        f"for verb in {verbs!r}:\n"
        "    sys.argv = ['archsweep', *verb]\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):\n"
        "        main()\n"
        "    assert shown.getvalue(), verb\n"
        "    print(verb[0], *sorted({'torch', 'timm', 'ray', 'optuna'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines() == ["ls", "diff", "watch", "status", "table"]


def test_what_a_trial_runs_in_never_imports_ray():
    """A forked child that imported ray would pay a second and talk to the driver's cluster."""
    code = "import sys, runners.engines.ray.trial_process; print(sorted({'ray', 'optuna'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_modules_are_named_after_an_idea():
    names = {path.stem for room in ARROWS for path in (ROOT / room).rglob("*.py")}
    assert names & FORBIDDEN_NAMES == set()
