"""archsweep works in a folder that has packages of the same names, and says so in one sentence where it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from results import Run
from runners.doctor.finding import Finding
from runners.doctor.software import judge_own_packages

ROOT = Path(__file__).parents[2]
NAMES = ("modelzoo", "results", "runners", "search_space")
SWEEP = """
name: shadowed
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
  task: {name: classification, dataset: builtin/digits}
  train: {epochs: 1, batch_size: 512}
space: {}
design: factorial
seeds: 1
metric: top1
"""
# What pip writes for an entry of [project.scripts].
CONSOLE_SCRIPT = "import sys\nfrom archsweep.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"


@pytest.fixture
def folder(tmp_path):
    """A research folder with packages of our names that must never be imported, and a sweep."""
    for name in NAMES:
        (tmp_path / "study" / name).mkdir(parents=True)
        (tmp_path / "study" / name / "__init__.py").write_text("raise RuntimeError('the package of the user')\n")
    (tmp_path / "study" / "sweep.yaml").write_text(SWEEP)
    return tmp_path / "study"


@pytest.fixture
def command(folder):
    """Starts a command in the folder; archsweep is found as an installed package is, after the folder itself."""
    script = folder.parent / "bin" / "archsweep"
    script.parent.mkdir()
    script.write_text(CONSOLE_SCRIPT)
    starts = {"archsweep": [str(script)], "python -m archsweep": ["-m", "archsweep"], "python -c": ["-c"]}

    def command_(start, *arguments, path=str(ROOT)):
        env = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        return subprocess.run(
            [sys.executable, *starts[start], *arguments],
            cwd=folder,
            env={**env, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
        )

    return command_


def run(*more):
    return ["run", "sweep.yaml", "--quiet", "--no-cache", *more]


def statuses(folder):
    opened = Run.open(folder / "runs" / "shadowed")
    return [(record.status, record.failure and record.failure.message) for record in opened.records]


# These two are slow, because a cluster starts. Of the default run, the test after them holds that spawned processes
# find our packages, and the last ones of this file that our finder comes before the path of the process.
@pytest.mark.ray
@pytest.mark.slow
def test_console_script_trains_on_ray(command, folder):
    """Ray puts the folder first on the path of its workers, and their forkserver starts in it."""
    done = command("archsweep", *run())
    assert statuses(folder) == [("completed", None)], done.stderr
    assert done.returncode == 0
    log = (folder / "runs" / "shadowed" / "driver.log").read_text()
    assert "the package of the user" not in log + done.stderr


@pytest.mark.ray
@pytest.mark.slow
def test_module_trains_on_ray_in_two_processes_with_a_tracker(command, folder):
    """Forked trial, spawned ranks, tracker process: each finds our packages, also where the folder is on PYTHONPATH."""
    track = ["--set", "track=[tensorboard]", "--set", "resources.cpus=2", "--set", "resources.processes=2"]
    done = command("python -m archsweep", *run(*track), path=f".{os.pathsep}{ROOT}")
    assert statuses(folder) == [("completed", None)], done.stderr
    assert done.returncode == 0
    assert "is left out" not in done.stderr
    assert list((folder / "runs" / "shadowed" / "tensorboard").rglob("events.*"))


@pytest.mark.slow
def test_it_trains_in_process_in_two_processes(command, folder):
    done = command(
        "archsweep", *run("--engine", "in-process", "--set", "resources.processes=2"), path=f".{os.pathsep}{ROOT}"
    )
    assert statuses(folder) == [("completed", None)], done.stderr
    assert done.returncode == 0


def test_a_package_that_was_imported_before_is_refused_in_one_sentence(command, folder):
    (folder / "results" / "__init__.py").write_text("")
    code = "import results, sys; sys.argv[0] = 'archsweep'; from archsweep.__main__ import main; main()"
    done = command("python -c", code, *run())
    assert done.returncode == 2
    assert done.stderr == (
        "archsweep: 1 problem\n\n"
        f"the package `results` in {folder / 'results'} shadows archsweep's own in {ROOT / 'results'}: rename it or "
        "take it off PYTHONPATH, and start with `archsweep` or `python -m archsweep`\n"
    )


def test_run_refuses_what_is_shadowed_after_the_start(command, folder):
    """`python -m runners.cli` and programs of the user's own come in without `archsweep.__main__`."""
    (folder / "modelzoo" / "__init__.py").write_text("")
    code = "import modelzoo, sys; sys.argv[0] = 'archsweep'; from runners.cli import main; main()"
    done = command("python -c", code, *run(), path=str(ROOT))
    assert done.returncode == 1, "this folder has a `runners` of its own, which Python finds before any code of ours"
    (folder / "runners").rename(folder / "mine")
    (folder / "results").rename(folder / "my_results")
    (folder / "search_space").rename(folder / "my_space")
    done = command("python -c", code, *run())
    assert done.returncode == 2
    assert done.stderr == (
        "archsweep: 1 problem\n\n"
        f"the package `modelzoo` in {folder / 'modelzoo'} shadows archsweep's own in {ROOT / 'modelzoo'}: rename it or "
        "take it off PYTHONPATH, and start with `archsweep` or `python -m archsweep`\n"
    )


def test_importing_it_is_enough_to_find_our_packages(command):
    code = (
        "import json, archsweep, results, search_space, importlib.util as util;"
        "print(json.dumps([results.__file__, search_space.__file__, util.find_spec('runners').origin]))"
    )
    done = command("python -c", code, path=f".{os.pathsep}{ROOT}")
    assert json.loads(done.stdout) == [
        str(ROOT / name / "__init__.py") for name in ("results", "search_space", "runners")
    ]


def test_other_packages_are_found_in_the_order_of_the_path(command, folder):
    """Our own folder may be site-packages, whose other packages must not come before the user's."""
    (folder / "torchvision.py").write_text("mine = True\n")
    done = command("python -c", "import archsweep, sys, torchvision; print(torchvision.mine, sys.path[0] == '')")
    assert done.stdout == "True True\n", done.stderr


def test_a_bare_checkout_knows_its_version(tmp_path):
    """-I -S: no installed packages at all."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import archsweep; print(archsweep.__version__)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, ROOT], capture_output=True, text=True, cwd=tmp_path)
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    assert [f'version = "{done.stdout.strip()}"'] == [line for line in lines if line.startswith("version = ")]


def test_doctor_names_what_shadows():
    assert judge_own_packages(["the package `results` in /me/results shadows ..."]) == Finding(
        "archsweep",
        "problem",
        "the package `results` in /me/results shadows ...",
        "`archsweep run` refuses to start until then",
    )
    assert judge_own_packages([]).state == "ok"
