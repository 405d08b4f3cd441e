"""Room is counted node by node, and a node that fails everything gets no further trials."""

from __future__ import annotations

import pytest

from results import Failure, TrialRecord
from runners.engines.nodes.capacity import Node, check_fits, has_room
from runners.engines.nodes.health import NodeHealth
from runners.planning.gpu_share import share_of
from search_space import Resources, SpecError

FOUR_SMALL = [Node(str(number), f"host{number}", {"CPU": 8, "GPU": 1}) for number in range(4)]


def problems(resources, nodes):
    with pytest.raises(SpecError) as caught:
        check_fits(resources, nodes)
    return [(problem.path, problem.message) for problem in caught.value.problems]


def test_gpus_of_several_nodes_make_no_large_one():
    assert problems(Resources(gpus=2), FOUR_SMALL) == [
        ("resources.gpus", "a trial asks for 2 GPUs, its largest node has 1")
    ]


def test_no_node_with_both_is_distinguished_from_no_node_with_either():
    nodes = [Node("a", "a", {"CPU": 64}), Node("b", "b", {"CPU": 2, "GPU": 8})]
    assert problems(Resources(cpus=4, gpus=1), nodes) == [
        ("resources", "a trial asks for 4 CPUs and 1 GPUs, and no node has both")
    ]
    check_fits(Resources(cpus=2, gpus=8), nodes)


@pytest.mark.parametrize(
    ("demand", "expected"),
    [
        ({"CPU": 1, "GPU": 1}, 4),
        ({"CPU": 1, "GPU": 0.5}, 8),
        ({"CPU": 5, "GPU": 0.25}, 4),  # CPUs decide
        ({"CPU": 1, "GPU": 0.1}, 32),  # 8 CPUs a node, although a GPU has room for 10
        ({"CPU": 1.6, "GPU": 0.2}, 20),  # five times, also by floating point
        ({"CPU": 16, "GPU": 0}, 0),
    ],
)
def test_room_is_counted_node_by_node(demand, expected):
    demand = {"CPU": 0, "GPU": 0, **demand}
    assert [has_room(demand, [demand] * number, FOUR_SMALL) for number in range(expected + 1)] == [
        *[True] * expected,
        False,
    ]


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ([1, 1, 1], True),
        ([1, 1, 1, 1], False),
        ([0.5, 1, 0.5, 1], True),  # the halves share one
        ([0.5, 1, 0.5, 1, 0.5], False),
        ([2], False),  # it waits itself: what comes later must not overtake it permanently
    ],
)
def test_room_beside_trials_of_other_sizes(taken, expected):
    """Four GPUs on four nodes; asked for is a whole one."""
    demands = [{"CPU": 1, "GPU": gpus} for gpus in taken]
    assert has_room({"CPU": 1, "GPU": 1}, demands, FOUR_SMALL) == expected


@pytest.mark.parametrize(
    ("gib", "total", "share"),
    [
        (0.1, 80, 0.05),  # (0.1 * 1.15 + 0.75) / 80 = 0.011
        (10, 80, 0.2),  # 12.25 / 80 = 0.153
        (10, 24, 0.55),  # 12.25 / 24 = 0.510
        (34.13, 80, 0.5),  # 40.0 / 80
        (34.2, 80, 0.55),
        (79, 80, 1.0),
        (float("inf"), 80, 1.0),
    ],
)
def test_share_holds_the_peak_its_fragments_and_the_context(gib, total, share):
    assert share_of(gib, total) == pytest.approx(share)


def record(trial, variant, status="failed", kind="RuntimeError"):
    failure = Failure(type=kind, message="broken") if status == "failed" else None
    return TrialRecord(
        trial_id=trial, variant_id=variant, variant=variant, seed=0, spec={}, status=status, failure=failure
    )


def test_a_node_is_set_aside_by_the_first_trial_that_misses_its_gpu_there():
    missing, other = (record(name, "x", kind="DeviceMissing") for name in "12")
    health = NodeHealth()
    assert health.record_result("bad", missing, alive=frozenset({"good", "bad"})) == [missing]
    assert health.set_aside == ("bad",)
    alone = NodeHealth()  # no other node can hold the trial: without this one the sweep could not go on
    assert alone.record_result("bad", missing, alive=frozenset({"bad"})) == []
    assert alone.record_result("worse", other, alive=frozenset({"bad", "worse"})) == []  # neither has its GPU
    assert alone.set_aside == ()


def test_a_node_is_set_aside_after_three_failures_of_several_variants():
    health, alive = NodeHealth(), frozenset({"good", "bad"})
    assert health.record_result("bad", record("1", "x"), alive=alive) == []
    assert health.record_result("bad", record("2", "y"), alive=alive) == []
    again = health.record_result("bad", record("3", "x"), alive=alive)
    assert [entry.trial_id for entry in again] == ["1", "2", "3"]
    assert health.set_aside == ("bad",)
    late = health.record_result("bad", record("4", "y"), alive=alive)  # it had been placed there before
    assert [entry.trial_id for entry in late] == ["4"]


@pytest.mark.parametrize(
    "story",
    [
        [("bad", record("1", "x")), ("bad", record("2", "y")), ("bad", record("3", "x", status="completed"))] * 3,
        [("bad", record(str(number), "x")) for number in range(9)],  # one variant: it may be the variant's fault
        [("bad", record(str(number), "xyz"[number % 3], kind="NonFiniteLoss")) for number in range(9)],
        [("bad", record(str(number), "xyz"[number % 3], kind="OutOfMemory")) for number in range(9)],
    ],
    ids=["successes between", "one variant", "divergence", "memory"],
)
def test_a_node_that_may_be_innocent_stays(story):
    health = NodeHealth()
    for node, entry in story:
        assert health.record_result(node, entry, alive=frozenset({"good", "bad"})) == []
    assert health.set_aside == ()


def test_the_last_node_stays_when_the_sweep_itself_is_broken():
    health, alive = NodeHealth(), frozenset({"a", "b"})
    for number in range(12):
        health.record_result("ab"[number % 2], record(str(number), "xyz"[number % 3]), alive=alive)
    assert len(health.set_aside) == 1
    lonely = NodeHealth()
    for number in range(12):
        lonely.record_result("a", record(str(number), "xyz"[number % 3]), alive=frozenset({"a"}))
    assert lonely.set_aside == ()
