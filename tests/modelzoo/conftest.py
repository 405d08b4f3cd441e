"""Where the golden cases lie, and how a test runs once for each of them.

Golden cases were recorded from the official implementations: `<family>/<name>.json` (system, configuration, mode)
beside `<family>/<name>.safetensors` (state, input, output, intermediates, gradients). They are not part of this
repository.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file


def golden_root() -> Path:
    named = os.environ.get("ARCHSWEEP_GOLDEN")
    return Path(named) if named else Path(__file__).parents[3] / "shared" / "golden"


def golden_cases(*systems: str) -> list[Path]:
    """Every case of these systems that is there, whatever its name."""
    found = sorted(golden_root().glob("*/*.json"))
    return [path for path in found if json.loads(path.read_text()).get("system") in systems]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`@pytest.mark.golden(system, ...)`: one test per case, or one skipped test that says why."""
    marker = metafunc.definition.get_closest_marker("golden")
    if marker is None:
        return
    cases = golden_cases(*marker.args)
    reason = f"no golden case of {', '.join(marker.args)} below {golden_root()}; set ARCHSWEEP_GOLDEN"
    parameters = [pytest.param(path, id=path.stem) for path in cases] or [
        pytest.param(None, id="none", marks=pytest.mark.skip(reason=reason))
    ]
    metafunc.parametrize("golden", parameters, indirect=True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "golden(*systems): run once per golden case of these systems")


class GoldenCase:
    """One recorded case: what was asked of the official module, and what it answered."""

    def __init__(self, path: Path) -> None:
        self.meta = json.loads(path.read_text())
        self.tensors = load_file(path.with_suffix(".safetensors"))

    def group(self, prefix: str) -> dict[str, torch.Tensor]:
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> GoldenCase:
    return GoldenCase(request.param)
