"""The rooms of the house and the arrows between them (docs/architecture.md)."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ["archsweep", "search_space", "modelzoo", "results", "runners"]
# Everything may import these, and they import nothing of ours. The first has to run before any of our packages is
# looked for, under a name that no other folder has; the second is the version of the packages around it.
GROUND = {"archsweep.own_packages", "archsweep.version"}
ARROWS = {
    "archsweep": {"search_space", "modelzoo", "results", "runners"},
    "search_space": set(),
    "modelzoo": {"search_space"},
    "results": {"search_space"},
    "runners": {"search_space", "modelzoo", "results"},
}
ROOMS = {  # from the ground up: a room imports only from rooms before it
    "archsweep": [
        *("own_packages", "version", "sweep_source", "tables"),
        *("planned_sweep", "opened_run", "start", "testing", "__main__"),
    ],
    "search_space": ["parsing", "plugins", "schema", "settings", "designs", "variants", "checks", "loading"],
    "modelzoo": [
        "legal_values",
        "attention",
        "hosts",
        "factory",
        "stacked",
        "models",
        "dense",
        "text",
        "self_supervised",
        "official",
        "probes",
        "model_table",
        "host_table",
    ],
    "results": [
        *("plan", "predictions", "store", "markup", "stats", "table", "effects", "layout"),
        *("exporters", "run_files", "views", "figures", "report", "live"),
    ],
    "runners": [
        *("machine", "trials", "data", "launch", "tasks", "training", "kept_models"),
        *("planning", "search", "forms", "cache"),
        *("trackers", "display", "driver", "doctor", "engines", "run_sweep", "session", "serve", "imports", "cli"),
    ],
}
NEVER = {  # although the order would allow it
    ("runners", "launch"): set(ROOMS["runners"]) - {"launch"},
    ("runners", "trackers"): {"display"},
}
FOREIGN_TO = {
    "archsweep": {"torch", "timm", "ray", "optuna"},
    "search_space": {"torch", "timm", "ray", "optuna", "numpy"},
    "results": {"torch", "timm", "ray", "optuna"},
}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "core", "manager", "misc"}
MOST_MODULES = 15
MOST_LINES, FEWEST_LINES = 400, 45
HEAVY_ROOMS = {("archsweep", "testing"): "imported by tests and plug-ins, not by archsweep itself"}
PEERS = {  # folders whose modules are one of a kind, however small each is
    "search_space/designs": "one design a file",
    "archsweep/testing": "the contract of one family a file",
    "results/exporters": "one format a file",
    "search_space/schema/tasks": "one task a file",
    "runners/cli": "one verb a file",
    "runners/tasks/metrics": "the metrics of one task a file",
    "runners/cli/files": "one verb a file",
    "runners/cli/views": "one verb a file",
}
SMALL_FOR_A_REASON = {
    "modelzoo.text.cost": "as the cost of the other networks, in a file of its own",
    "archsweep.__main__": "what `python -m archsweep` carries out",
    "runners.cli.documents.schemas": "the table of all documents; a verb imports its own only",
    "runners.driver.progress_file": "an observer; the rooms below have no progress file",
    "search_space.loading.starter": "what `init` writes, read without the rest of loading",
}


def modules() -> dict[str, Path]:
    """Every module of our packages, by its dotted name."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = modules()


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """Dotted names that the file imports, at any depth of its code: modules where they are ours, else as written."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES)
            # `from package import name`: the name's module where it is one, else the package itself
            found |= submodules
            if len(submodules) < len(node.names):
                found.add(node.module)
    return frozenset(found)


def room_of(module: str) -> tuple[str, str]:
    package, _, rest = module.partition(".")
    return package, rest.split(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_from_where_its_arrows_point(package):
    not_ours = set(ARROWS) - {package} - ARROWS[package]
    wrong: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        if module.split(".")[0] != package:
            continue
        banned = not_ours | (set() if room_of(module) in HEAVY_ROOMS else FOREIGN_TO.get(package, set()))
        if bad := {name.split(".")[0] for name in imports_of(path) - GROUND} & banned:
            wrong[module] = sorted(bad)
    assert wrong == {}


def test_the_ground_floor_imports_nothing_of_ours():
    imported = {name.split(".")[0] for module in GROUND for name in imports_of(MODULES[module])}
    assert imported <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_import_only_from_rooms_before_them(package):
    order, wrong = ROOMS[package], []
    for module, path in MODULES.items():
        if module.split(".")[0] != package or module == package:
            continue
        here = room_of(module)[1]
        assert here in order, f"{module}: a room that the order does not know"
        for imported in imports_of(path):
            other, there = room_of(imported)
            if other != package or there == here:
                continue
            assert there, f"{module} imports its own package's face: name the module instead"
            if order.index(there) > order.index(here) or there in NEVER.get((package, here), ()):
                wrong.append(f"{module} -> {imported}")
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle():
    """Kahn's algorithm: what is left when modules without imports among the rest are taken away has a circle."""
    left = {module: {name for name in imports_of(path) if name in MODULES} for module, path in MODULES.items()}
    while free := [module for module, names in left.items() if not names & set(left) - {module}]:
        for module in free:
            del left[module]
    assert sorted(left) == []


def test_run_sweep_is_the_one_file_at_the_top_of_runners():
    assert sorted(path.name for path in (ROOT / "runners").glob("*.py")) == ["__init__.py", "run_sweep.py"]


def test_no_folder_holds_too_many_modules():
    folders = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    too_full = {str(folder.relative_to(ROOT)): count for folder, count in folders.items() if count > MOST_MODULES}
    assert too_full == {}


def test_one_idea_a_file():
    """Over 400 lines are two ideas; under 45 are none, unless two others need it or it is one of several peers."""
    lines = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    assert {module: count for module, count in lines.items() if count > MOST_LINES} == {}
    users = Counter(name for path in MODULES.values() for name in imports_of(path))
    small = {
        module
        for module, path in MODULES.items()
        if path.name != "__init__.py"
        and lines[module] < FEWEST_LINES
        and users[module] < 2
        and str(path.parent.relative_to(ROOT)) not in PEERS
    }
    assert small == set(SMALL_FOR_A_REASON)


def test_models_have_the_same_files_in_every_folder():
    folders = [path for path in (ROOT / "modelzoo" / "models").iterdir() if path.is_dir() and path.name[0] != "_"]
    assert len(folders) == 6
    for folder in folders:
        names = {path.stem for path in folder.glob("*.py")}
        assert {"model", "registry", "blocks"} <= names, folder
        # Nothing was released of LG-Transformer, so there is no state to adapt.
        assert ("state_dict_adapter" in names) == (folder.name != "lg_transformer")


@pytest.mark.parametrize("package", sorted(FOREIGN_TO))
def test_light_packages_stay_light(package):
    """A fresh interpreter: `archsweep check` and `table` must answer at once."""
    heavy = "{'torch', 'timm', 'ray', 'optuna', 'pandas', 'sklearn', 'jinja2'}"
    names = "own_packages" if package == "archsweep" else "*"
    code = f"import sys\nfrom {package} import {names}\nprint(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_command_line_itself_is_light():
    heavy = "{'torch', 'timm', 'ray', 'optuna', 'scipy', 'jinja2'}"
    code = f"import sys, runners.cli; print(sorted({heavy} & set(sys.modules)))"
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
        "    print(verb[0], *sorted({'torch', 'timm', 'ray', 'optuna', 'jinja2'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines() == ["ls", "diff", "watch", "status", "table"]


@pytest.mark.thorough
@pytest.mark.xdist_group("imports of a trial")
def test_what_a_trial_runs_in_never_imports_ray(imports_of_a_trial):
    """A forked child that imported ray would pay a second and talk to the driver's cluster. Scikit-learn and pandas
    take more than a second of every forkserver, and few trials need them."""
    in_the_trial, _ = imports_of_a_trial
    assert "torch" in in_the_trial
    assert {"ray", "optuna", "sklearn", "pandas"} & in_the_trial == set()


def test_modules_are_named_after_an_idea():
    names = {part for module in MODULES for part in module.split(".")}
    assert names & FORBIDDEN_NAMES == set()
