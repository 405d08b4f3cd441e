"""Schedules at their ends, and against numpy's."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.self_supervised import cosine_schedule, teacher_temperature


@pytest.mark.parametrize("warmup", [0, 1, 2, 5, 10])
def test_warm_up_is_numpys_linspace_and_its_peak_occurs_twice(warmup):
    values = [
        cosine_schedule(update, base=0.3, final=0.01, num_updates=10, warmup_updates=warmup, start=0.1)
        for update in range(10)
    ]
    assert values[:warmup] == pytest.approx(np.linspace(0.1, 0.3, warmup).tolist(), rel=1e-12)
    if 1 < warmup < 10:
        assert values[warmup - 1] == values[warmup] == 0.3


def test_cosine_is_half_way_in_the_middle_and_ends_after_the_last_update():
    assert cosine_schedule(5, base=1.0, final=0.0, num_updates=10) == pytest.approx(0.5)
    assert cosine_schedule(9, base=1.0, final=0.0, num_updates=10) > 0
    assert cosine_schedule(10, base=1.0, final=0.0, num_updates=10) == 0.0


@pytest.mark.parametrize("update", [-1, 11])
def test_updates_outside_the_training_are_refused(update):
    with pytest.raises(ValueError, match=f"10 updates has none with number {update}"):
        cosine_schedule(update, base=1.0, final=0.0, num_updates=10)


@pytest.mark.parametrize("warmup", [0, 1, 3])
def test_teacher_temperature_is_numpys_linspace_and_then_constant(warmup):
    values = [teacher_temperature(epoch, start=0.04, final=0.07, warmup_epochs=warmup) for epoch in range(5)]
    assert values == pytest.approx([*np.linspace(0.04, 0.07, warmup), *[0.07] * (5 - warmup)], rel=1e-12)
