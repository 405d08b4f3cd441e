"""No link leads a write out of a run directory, whether it is there at the start or made later."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from results import LedgerWriter, ProgressWriter
from results.store.files import atomic_write
from results.store.links import folder_within, opener_within, refuse_unsafe_entries
from results.store.progress import ProgressEvent
from results.store.run_layout import RunDir, TrackerFiles, TrialDir, temporary_path
from runners.driver.provenance import write_provenance
from runners.engines import ENGINES
from runners.search.suggestion_log import Suggestions
from search_space import SpecError


def paths_of(place: RunDir | TrialDir | TrackerFiles) -> list[Path]:
    return [getattr(place, name) for name, each in vars(type(place)).items() if isinstance(each, property)]


def every_path(run_dir: RunDir) -> list[Path]:
    """All that `RunDir` names, with the folders above, and a temporary file."""
    files = [*paths_of(run_dir), *map(run_dir.table, ("csv", "md", "tex", "html"))]
    files += [run_dir.stop_request("s"), run_dir.visibility_marker("t"), run_dir.path / ".trials.csv.1.tmp"]
    files += [*paths_of(run_dir.trial("T")), *paths_of(run_dir.tracker("mlflow"))]
    folders = {folder for file in files for folder in file.parents if run_dir.path in folder.parents}
    return sorted({*files, *folders})


@pytest.fixture
def home(tmp_path):
    """A folder outside of the run, with a file of its owner."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mine").write_text("mine\n")
    return tmp_path / "home"


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "run").mkdir()
    return RunDir(tmp_path / "run")


@pytest.mark.parametrize("path", every_path(RunDir(Path("run"))), ids=str)
@pytest.mark.parametrize("target", ["mine", "new", "."])
def test_a_driver_refuses_a_link_out_of_the_run_directory(tmp_path, run_dir, home, path, target):
    link = run_dir.path / Path(path).relative_to("run")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(home / target)
    with pytest.raises(SpecError, match="leads out of the run directory") as caught, LedgerWriter(run_dir):
        pass
    assert [problem.where for problem in caught.value.problems] == [str(link)]
    assert sorted(os.listdir(home)) == ["mine"]
    assert (home / "mine").read_text() == "mine\n"
    assert not run_dir.lock.exists() or run_dir.lock.is_symlink()  # nothing was written before


def test_one_message_names_all_of_them(run_dir, home):
    for name in ("provenance.jsonl", "progress.jsonl", "ledger.jsonl", "trials", "notes"):
        (run_dir.path / name).symlink_to(home / name)
    with pytest.raises(SpecError) as caught:
        refuse_unsafe_entries(run_dir)
    assert [Path(problem.where).name for problem in caught.value.problems] == [
        "ledger.jsonl", "notes", "progress.jsonl", "provenance.jsonl", "trials",
    ]  # fmt: skip
    for number in range(30):
        (run_dir.path / f"z{number}").symlink_to(home)
    with pytest.raises(SpecError, match="and 15 more of this kind") as caught:
        refuse_unsafe_entries(run_dir)
    assert len(caught.value.problems) == 21


def test_a_chain_of_links_and_one_to_the_parent_lead_out(run_dir, home):
    (run_dir.path / "a").symlink_to("b")
    (run_dir.path / "b").symlink_to("../home/mine")
    (run_dir.path / "c").symlink_to("..")
    (run_dir.path / "d").symlink_to("../run2")  # the name begins with that of the run directory
    with pytest.raises(SpecError) as caught:
        refuse_unsafe_entries(run_dir)
    assert [Path(problem.where).name for problem in caught.value.problems] == ["a", "b", "c", "d"]


def test_a_pipe_deep_inside_is_refused_before_a_driver_waits_for_its_reader(run_dir):
    folder = run_dir.trial("T").path
    folder.mkdir(parents=True)
    os.mkfifo(folder / "train.log")
    with pytest.raises(SpecError, match="is no plain file") as caught:
        refuse_unsafe_entries(run_dir)
    assert caught.value.problems[0].where == str(folder / "train.log")


def test_links_that_stay_inside_are_legal(run_dir):
    (run_dir.path / "store").mkdir()
    (run_dir.path / "store" / "trials").mkdir()
    run_dir.ledger.symlink_to("store/ledger")
    run_dir.progress.symlink_to(run_dir.path / "store" / "progress")
    (run_dir.path / "trials").symlink_to("store/trials")
    with LedgerWriter(run_dir) as ledger, ProgressWriter(run_dir, ledger.summaries) as progress:
        progress.append(ProgressEvent(1.0, "t", "v", 0, "start"))
        folder_within(run_dir.trial("T").path, run_dir)
    assert sorted(os.listdir(run_dir.path / "store")) == ["ledger", "progress", "trials"]
    assert (run_dir.path / "store" / "progress").read_bytes().count(b"\n") == 1
    assert (run_dir.path / "store" / "trials" / "T").is_dir()


def test_a_run_directory_may_be_a_link_itself(tmp_path):
    (tmp_path / "disk" / "run").mkdir(parents=True)
    (tmp_path / "runs").symlink_to("disk")
    with LedgerWriter(tmp_path / "runs" / "run"), ProgressWriter(tmp_path / "runs" / "run"):
        pass
    assert {"driver.lock", "ledger.jsonl", "progress.jsonl"} <= set(os.listdir(tmp_path / "disk" / "run"))


def test_a_link_that_is_made_later_is_not_followed(run_dir, home):
    """By then the check of the start is over: files are opened with care, too, also below a folder that is a link."""
    (home / "made").mkdir()
    targets = {"provenance.jsonl": "mine", "progress.jsonl": "mine", "driver.log": "mine", "suggestions.jsonl": "new"}
    for name, target in {**targets, "trials": "made"}.items():
        (run_dir.path / name).symlink_to(home / target)
    writes = (
        lambda: write_provenance(run_dir, {"a": 1}, "text"),
        lambda: ProgressWriter(run_dir).__enter__(),
        lambda: Suggestions(run_dir).append({"a": 1}),
        lambda: ENGINES["ray"](None, run_dir=run_dir, address=None),
    )
    for write in writes:
        with pytest.raises(SpecError, match="leads out of the run directory"):
            write()
    for within in (run_dir.trial("T").path, run_dir.trial("T").log):
        with pytest.raises(OSError, match="leads out of"):
            folder_within(within, run_dir)
        with pytest.raises(OSError, match="leads out of"):
            opener_within(run_dir)(str(within), os.O_WRONLY | os.O_CREAT)
    assert sorted(os.listdir(home)) == ["made", "mine"]
    assert os.listdir(home / "made") == []
    assert (home / "mine").read_text() == "mine\n"


def test_files_that_are_replaced_follow_no_link_of_their_name_or_of_their_temporary(run_dir, home):
    for path in (run_dir.plan, temporary_path(run_dir.plan)):
        path.symlink_to(home / "mine")
    atomic_write(run_dir.plan, "new")
    assert (home / "mine").read_text() == "mine\n"
    assert run_dir.plan.read_text() == "new"
    assert not run_dir.plan.is_symlink()


def test_a_loop_of_links_is_an_error_with_a_message(run_dir):
    run_dir.ledger.symlink_to("ledger.jsonl")
    with pytest.raises(SpecError, match="symbolic link"), LedgerWriter(run_dir):
        pass


ELSEWHERE = {  # where files of a user's choice are written, or none of a run
    "results/store/files.py": "`xb` makes the file",
    "results/run_files/bundle.py": "a temporary folder",
    "runners/cli/app.py": "/dev/null",
    "runners/cli/files/import_checkpoint.py": "-o FILE",
    "runners/cli/launch.py": "launch files",
    "runners/cli/files/models_schema_init.py": "-o FILE",
    "runners/cli/views/report.py": "-o FILE",
    "runners/cli/views/table.py": "-o FILE",
    "runners/cli/terminal.py": "/dev/null",
    "results/figures/files.py": "--figures DIR",
    "runners/data/shared/decoded.py": "a file that `node_files.py` names",
    "runners/engines/forkserver/start.py": "/dev/null",
    "runners/machine/node_files.py": "a temporary folder that is this user's alone; the lock in it follows no link",
    "runners/data/dense/scene_export.py": "a new folder of the user's choice",
    "runners/trackers/optuna.py": "a journal wherever the sweep says; one in the run is checked at the start",
}


def writes(tree: ast.AST) -> list[int]:
    """Lines of calls that open a file for writing, and would follow a link."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        is_written = any(set(text) <= set("rwabt+") and set(text) & set("wa+") for text in texts)
        has_opener = any(keyword.arg == "opener" for keyword in node.keywords)
        flags = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
        if name in ("write_text", "write_bytes", "truncate") and not isinstance(node.func, ast.Name):
            found += [node.lineno] if name != "truncate" or ast.unparse(node.func) == "os.truncate" else []
        elif name == "open" and ((is_written and not has_opener) or flags & {"O_CREAT", "O_WRONLY", "O_RDWR"}):
            found.append(node.lineno)
    return found


def test_every_file_of_a_run_is_opened_with_care():
    root = Path(__file__).parents[2]
    files = [path for package in ("results", "runners") for path in sorted((root / package).rglob("*.py"))]
    found = {
        f"{path.relative_to(root)}:{line}"
        for path in files
        if str(path.relative_to(root)) not in ELSEWHERE
        for line in writes(ast.parse(path.read_text()))
    }
    assert found == set()
    assert writes(ast.parse('path.open("a")')) == writes(ast.parse("os.open(p, os.O_CREAT)")) == [1]
    assert writes(ast.parse('open(p, "a", opener=o)')) == writes(ast.parse('open(p, "rb")')) == []
