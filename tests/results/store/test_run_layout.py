"""`RunDir` knows every file of a run directory, and nothing else names one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from results.store.run_layout import IN_RUN_DIR, RunDir, TrackerFiles, TrialDir

ROOT = Path(__file__).parents[3]
PACKAGES = ["search_space", "modelzoo", "results", "runners"]
FORMATS = ("csv", "md", "tex", "html")
OTHER_FILES = {  # of the same name, in other places
    ("runners/launch/job.py", "sweep.yaml"): "travels with a job",
    ("runners/launch/kuberay.py", "sweep.yaml"): "travels with a job",
    ("runners/launch/kuberay.py", "/sweep.yaml"): "travels with a job",
    ("runners/cli/files/models_schema_init.py", "sweep.yaml"): "what `init` writes",
    ("results/exporters/html.py", "exporters/assets/table.html.j2"): "a template of ours",
}


def known_paths(*trials: str) -> set[Path]:
    """Relative to the run directory, without those that are made of a session, a process or a tracker."""
    found = {*paths_of(IN_RUN_DIR), *map(IN_RUN_DIR.table, FORMATS)}
    return found.union(*(paths_of(IN_RUN_DIR.trial(trial)) for trial in trials))


def paths_of(place: RunDir | TrialDir | TrackerFiles) -> list[Path]:
    """What the properties of a layout give."""
    properties = [name for name, each in vars(type(place)).items() if isinstance(each, property)]
    return [getattr(place, name) for name in properties]


def file_names() -> set[str]:
    return {path.name for path in known_paths("T") if path.suffix} | {".stop-", ".visible-"}


def literals(path: Path) -> set[str]:
    """Every text of the code that is no docstring and no prose."""
    tree = ast.parse(path.read_text())
    documents = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return {node.value for node in texts if id(node) not in documents and not re.search(r"\s", node.value)}


def test_no_other_module_names_a_file_of_a_run_directory():
    names = "|".join(re.escape(name) for name in sorted(file_names()))
    named = re.compile(rf"(?<![\w.-])(?:{names})(?!\w)")
    found = {
        (str(path.relative_to(ROOT)), text)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "run_layout.py"
        for text in literals(path)
        if named.search(text)
    }
    assert found == set(OTHER_FILES)


def test_no_name_is_written_twice():
    texts = [
        node.value
        for node in ast.walk(ast.parse((ROOT / "results/store/run_layout.py").read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not re.search(r"\s", node.value)
    ]
    for name in file_names():
        assert texts.count(name) <= 1, name


def test_the_page_lists_what_is_known():
    """docs/architecture.md, its section of the run directory."""
    text = (ROOT / "docs/architecture.md").read_text()
    block = re.search(r"## A run directory\n\n```\n(.*?)```", text, re.DOTALL)
    assert block is not None
    listed = set(re.findall(r"[\w.<>/-]+\.[a-z]+\b", block[1])) | set(re.findall(r"\b[a-z]+/(?=\s)", block[1]))
    listed = {name.removeprefix("runs/<sweep>/") for name in listed} - {""}
    known = {str(path) for path in known_paths("<id>")}
    folders = {f"{path.parts[0]}/" for path in map(Path, known) if len(path.parts) > 1 and path.parts[0] != "trials"}
    folders |= {"tensorboard/", "wandb/"}
    files = {name for name in known if "/" not in name or name.startswith("trials/")} - {"tensorboard", "wandb"}
    assert listed == files | folders


def test_a_run_directory_serves_as_a_path(tmp_path):
    run_dir = RunDir(tmp_path)
    assert RunDir.of(run_dir) is run_dir
    assert RunDir.of(str(tmp_path)) == RunDir.of(tmp_path) == run_dir
    assert (str(run_dir), Path(run_dir)) == (str(tmp_path), tmp_path)
    assert str(IN_RUN_DIR.trial("a").weights) == "trials/a/weights.safetensors"
    assert isinstance(run_dir.trial("a"), TrialDir)
