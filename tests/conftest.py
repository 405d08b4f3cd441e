"""What tests share: none reads or writes the user's memory of earlier trials, and one runs once for each golden case.

Golden cases were recorded from the official implementations: `<family>/<name>.json` (system, configuration, mode)
beside `<family>/<name>.safetensors` (state, input, output, intermediates, gradients). A compact set is part of this
repository, `tests/golden/`; the environment variable ARCHSWEEP_GOLDEN names a directory of more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from search_space.plugins import families, plugin

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user():
    os.environ["ARCHSWEEP_CACHE"] = "off"


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk():
    """No test cuts the power, so nothing that this process writes has to be on the disk before it goes on; processes
    that tests start and kill write as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which refuses what is no open file, too
        yield


@pytest.fixture(autouse=True)
def _no_plugin_of_another_test():
    """Plug-ins of a test are gone at its end; there is no public way, because a process never needs one."""
    loaded, finders = dict(plugin.LOADED), list(sys.meta_path)
    tables = {family: dict(families.contributed(family)) for family in families.FAMILIES}
    yield
    sys.meta_path[:] = [each for each in sys.meta_path if each in finders or not isinstance(each, plugin.SourceFinder)]
    members = {family: dict(families.contributed(family)) for family in families.FAMILIES}
    if dict(plugin.LOADED) == loaded and members == tables:
        return
    for each in set(plugin.LOADED) - set(loaded):
        for name in plugin.LOADED[each].sources:
            sys.modules.pop(name, None)
    plugin.LOADED.clear()
    plugin.LOADED.update(loaded)
    for family, before in tables.items():
        families.contributed(family).clear()
        families.contributed(family).update(before)
    families.tell_readers()


@pytest.fixture(scope="session")
def imports_of_a_trial():
    """What a fresh interpreter has loaded, without submodules: once it can run a trial, and once it can be a worker of
    Ray, too. It takes seconds, so that tests that ask for it share an xdist group."""
    report = "print(*{name.split('.')[0] for name in sys.modules})"
    code = f"import sys, runners.engines.ray.trial_process; {report}; import runners.engines.ray.worker; {report}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


OWN_CASES = Path(__file__).parent / "golden"


def golden_roots() -> list[Path]:
    """The directory of this repository, and the one that ARCHSWEEP_GOLDEN names."""
    named = os.environ.get("ARCHSWEEP_GOLDEN")
    if named and next(Path(named).rglob("*.json"), None) is None:
        # Not a skip: who sets it wants these cases compared.
        pytest.fail(
            f"ARCHSWEEP_GOLDEN is {named!r}, where no <family>/<name>.json can be found; correct or unset it",
            pytrace=False,
        )
    return [OWN_CASES, *([Path(named)] if named else [])]


def golden_cases(*systems: str, **options: bool) -> list[Path]:
    """Every case of these systems, whatever its name; one of the same family and name is taken once.

    Args:
        options: of the configuration; only cases that have set these (True) or have not (False).
    """
    found: dict[tuple[str, str], Path] = {}
    for root in golden_roots():
        for path in sorted(root.rglob("*.json")):
            found.setdefault((path.parent.name, path.stem), path)
    return [path for path in found.values() if _is_asked_for(json.loads(path.read_text()), systems, options)]


def _is_asked_for(meta: object, systems: tuple[str, ...], options: dict[str, bool]) -> bool:
    if not isinstance(meta, dict) or meta.get("system") not in systems:
        return False
    return all(bool(meta["config"].get(option)) is is_set for option, is_set in options.items())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`@pytest.mark.golden(system, ..., option=True)`: one test per case; an error where there is none."""
    marker = metafunc.definition.get_closest_marker("golden")
    if marker is None:
        return
    cases = golden_cases(*marker.args, **marker.kwargs)
    if not cases:
        asked = [*marker.args, *(f"{option}={is_set}" for option, is_set in marker.kwargs.items())]
        pytest.fail(f"no golden case of {', '.join(asked)}; add one to {OWN_CASES}", pytrace=False)
    metafunc.parametrize("golden", [pytest.param(path, id=path.stem) for path in cases], indirect=True)


@pytest.fixture
def find_golden_cases() -> Callable[..., list[Path]]:
    return golden_cases


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "golden(*systems, **options): run once per golden case of these systems")
    config.addinivalue_line("markers", "default_run(*ids): of the test's parameters only these are not slow")
    config.addinivalue_line("markers", "zoo(*others, slow): run once per named model, and per other name")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`@pytest.mark.default_run(*ids)`: all other parameters of the test are slow, because their code has run already.

    An id that no parameter has is an error where the others were collected: it would make every parameter slow.
    """
    collected: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    for item in items:
        marker = item.get_closest_marker("default_run")
        if marker is not None and isinstance(item, pytest.Function):
            collected.setdefault((item.nodeid.partition("[")[0], marker.args), set()).add(item.callspec.id)
            if item.callspec.id not in marker.args:
                item.add_marker(pytest.mark.slow)
    for (test, ids), found in collected.items():
        if len(found) > len(ids) and (unknown := sorted(set(ids) - found)):
            raise pytest.UsageError(f"{test}: default_run names what is no parameter: {', '.join(unknown)}")


class GoldenCase:
    """One recorded case: what was asked of the official module, and what it answered."""

    def __init__(self, path: Path) -> None:
        self.meta = json.loads(path.read_text())
        tensors = path.with_suffix(".safetensors")
        # A case whose answer is a few numbers has them in its JSON, under `expected` or `cases`.
        self.tensors = {} if self.meta.keys() & {"expected", "cases"} and not tensors.exists() else load_file(tensors)

    def group(self, prefix: str) -> dict[str, torch.Tensor]:
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> GoldenCase:
    return GoldenCase(request.param)
