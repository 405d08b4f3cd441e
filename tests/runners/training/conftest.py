"""A loss curve whose shape is the same on every processor."""

from __future__ import annotations

import pytest


@pytest.fixture
def learn_then_diverge() -> dict[str, float]:
    """Training options: three epochs that learn, then two at a rate that must diverge, so the third is the best.

    The rate stays at 3e-3 while it "warms up", then it follows a cosine on its way to 30. No sweep may ask for that
    (`min_lr <= lr`), but no legal schedule turns so sharply. While it warms up the rate does not depend on `epochs`.
    """
    return {"epochs": 5, "lr": 3e-3, "warmup_lr": 3e-3, "warmup_epochs": 3, "min_lr": 30.0}
