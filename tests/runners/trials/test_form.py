"""Groups of trials that train together: how many are handed out at once."""

from __future__ import annotations

import pytest

from runners.trials.form import LARGEST_GROUP, group_limit, group_size


@pytest.mark.parametrize(
    ("num_left", "num_waiting", "workers", "size"),
    [
        (8, 32, 1, 8),
        (20, 20, 1, LARGEST_GROUP),
        (8, 8, 2, 4),  # a second worker gets the other half
        (8, 32, 2, 8),  # which it finds in another variant
        (3, 3, 4, 2),  # never fewer than two, of which one would be a dummy
        (1, 5, 1, 1),
    ],
)
def test_a_group_leaves_work_for_every_worker(num_left, num_waiting, workers, size):
    assert group_size(num_left, num_waiting, workers) == size


def test_a_group_may_take_as_long_as_its_trials_one_after_the_other():
    assert group_limit(None, 8) is None
    assert group_limit(90.0, 8) == 720.0
