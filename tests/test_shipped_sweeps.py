"""Every sweep that ships: it loads with all its profiles, every variant can be built, and one smoke trial trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.drive import drive
from runners.plan import make_plan
from search_space import load_sweep

SWEEPS = sorted((Path(__file__).parent.parent / "sweeps").rglob("*.yaml"))
NAMES = ["/".join(path.parts[path.parts.index("sweeps") + 1 :]) for path in SWEEPS]


@pytest.mark.parametrize("path", SWEEPS, ids=NAMES)
def test_header_says_question_expectation_cost_and_command(path):
    text = path.read_text(encoding="utf-8")
    assert all(f"# {word}:" in text for word in ("Question", "Expected", "Cost", "Run"))
    assert "TODO" not in text


@pytest.mark.parametrize("path", SWEEPS, ids=NAMES)
def test_every_variant_can_be_built_with_every_light_profile(path):
    """The `paper` profile is loaded and checked, too, but planning it would need its data."""
    profiles = load_sweep(path).sweep.profiles
    assert "smoke" in profiles
    for profile in profiles:
        load_sweep(path, profile=profile)
    for profile in (None, "smoke"):
        plan = make_plan(load_sweep(path, profile=profile), profile=profile or "")
        assert plan.dropped == []


@pytest.mark.parametrize("path", SWEEPS, ids=NAMES)
def test_one_smoke_trial_trains(path, tmp_path):
    plan = make_plan(load_sweep(path, profile="smoke"), profile="smoke")
    result = drive(plan, tmp_path / "run", engine="in-process", limit=1)
    assert dict(result.counts) == {"completed": 1}


def test_published_rows_name_their_source():
    for path in SWEEPS:
        for profile in (None, *load_sweep(path).sweep.profiles):
            assert all(row.source for row in load_sweep(path, profile=profile).sweep.published)
