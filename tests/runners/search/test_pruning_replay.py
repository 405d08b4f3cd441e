"""Replay of recorded curves in `benchmarks/pruning.py`: epochs, seconds, and the selected trial."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_FILE = Path(__file__).parents[3] / "benchmarks" / "pruning.py"
_spec = importlib.util.spec_from_file_location("pruning_replay", _FILE)
assert _spec is not None
assert _spec.loader is not None
pruning = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = pruning  # dataclasses look up their module there
_spec.loader.exec_module(pruning)

CURVES = [pruning.Curve("a", (10.0, 20.0, 90.0), 1.0), pruning.Curve("b", (50.0, 60.0, 70.0), 2.0)]


class Below:
    """Rule that stops trials below 40 after their second epoch."""

    def start(self, number): ...
    def end(self, number, epoch, value, *, is_pruned): ...

    def stops(self, number, epoch, value):
        return epoch >= 2 and value < 40


def test_a_replay_counts_trained_epochs_and_selects_among_completed_trials():
    """a is stopped after 2 of 3 epochs: 5 of 6 epochs, 2 + 6 of 3 + 6 seconds; b is selected although a ends higher."""
    found = pruning.replay(CURVES, Below(), slots=2)
    assert (found.epochs, found.seconds, found.chosen.name) == (pytest.approx(5 / 6), pytest.approx(8 / 9), "b")


@pytest.mark.parametrize("name", sorted(pruning.RULES))
def test_every_rule_finishes_and_only_none_trains_everything(name):
    """Of ten curves that keep their order from the first epoch on, every rule finds the best and saves some epochs."""
    curves = [
        pruning.Curve(str(n), tuple(n + epoch / 10 for epoch in range(27)), 1.0) for n in (5, 9, 2, 7, 1, 8, 3, 6, 4, 0)
    ]
    found = pruning.replay(curves, pruning.RULES[name](27), slots=1)
    assert found.chosen.name == "9"
    assert (found.epochs == 1.0) == (name in ("none", "patient median"))  # `patient` waits while a curve still rises
