"""What is built of this tree: a wheel that runs without a checkout, and an sdist that builds the same wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("archsweep", "modelzoo", "results", "runners", "search_space")


def build(source: Path, target: str, folder: Path) -> Path:
    """Builds with the backend that pyproject.toml names, offline; the file that comes out."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The unpacked sdist."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build(ROOT, "sdist", folder / "built")) as archive:
        # Python before 3.11.4 has no filters.
        archive.extractall(folder / "unpacked", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (unpacked,) = (folder / "unpacked").iterdir()
    return unpacked


def test_the_wheel_has_packages_types_sweeps_and_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    sweeps = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sweeps").rglob("*.yaml")}
    assert {name.removeprefix("archsweep/") for name in names if name.startswith("archsweep/sweeps/")} == sweeps
    assert {name.split("/", 1)[1] for name in names if ".dist-info/" in name} >= {
        "licenses/LICENSE",
        "entry_points.txt",
    }


@pytest.mark.slow
def test_the_wheel_alone_runs_a_shipped_sweep(wheel, tmp_path):
    """Unpacked, as pip does it, into a folder of its own; started in another that has a `results` package."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "work" / "results").mkdir(parents=True)
    (tmp_path / "work" / "results" / "__init__.py").write_text("raise RuntimeError('the package of the user')\n")

    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "archsweep", *arguments],
            cwd=tmp_path / "work",
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )

    assert (
        command("init", "--from", "quickstart").stdout
        == "wrote quickstart.yaml; next: archsweep plan quickstart.yaml\n"
    )
    done = command("run", "quickstart.yaml", "--engine", "in-process", "--limit", "1", "--no-cache")
    assert done.returncode == 0, done.stderr
    assert "11 trials remain" in done.stderr


@pytest.mark.slow
def test_the_sdist_has_what_tests_need_and_builds_the_same_wheel(sdist, wheel, tmp_path):
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode == 0:  # an sdist has no repository
        missing = [name for name in tracked.stdout.splitlines() if not (sdist / name).is_file()]
        assert missing == []
    assert {"LICENSE", "tests", "sweeps", "constraints.txt"} <= {path.name for path in sdist.iterdir()}
    again = build(sdist, "wheel", tmp_path / "again")
    with zipfile.ZipFile(wheel) as ours, zipfile.ZipFile(again) as theirs:
        assert sorted(theirs.namelist()) == sorted(ours.namelist())
