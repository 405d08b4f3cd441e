"""Trials that train together: what the driver hands out, and that each is a trial of its own."""

from __future__ import annotations

import pytest

from results import Failure, LedgerWriter, read_ledger
from runners.driver.orchestrator import Orchestrator
from runners.planning.plan import make_plan
from runners.trials.form import Form, stack_of
from runners.trials.outcome import Outcome
from search_space import load_sweep

FUSED = Form("fused", "as the test says")


@pytest.fixture
def orchestrate(write_sweep, tmp_path):
    """An orchestrator of a sweep of three variants, of which some train fused."""
    ledgers = []

    def orchestrate_(*overrides, fused=("baseline", "attention=groupmix"), **options):
        plan = make_plan(load_sweep(write_sweep(), overrides=overrides))
        plan.forms = {stack_of(each.setting): FUSED for each in plan.variants if each.name in fused}
        ledgers.append(LedgerWriter(tmp_path / "run").__enter__())
        return Orchestrator(plan, ledgers[-1], **options)

    yield orchestrate_
    for ledger in ledgers:
        ledger.close()


def names(group):
    return [(each.variant.name, each.spec.seed, each.numerics) for each in group]


def completed():
    return Outcome("completed", {"top1": 50.0, "loss": 1.0}, train_seconds=1.0, total_seconds=2.0)


def test_seeds_of_a_fused_variant_are_handed_out_together(orchestrate):
    orchestrator = orchestrate("seeds=3")
    handed = [names(orchestrator.ask_group()) for _ in range(5)]
    fused = [[(name, seed, "fused") for seed in range(3)] for name in ("baseline", "attention=groupmix")]
    alone = [[("attention=reattention", seed, "single")] for seed in range(3)]
    assert handed == [fused[0], alone[0], fused[1], *alone[1:]]
    assert orchestrator.ask_group() == ()
    assert len(orchestrator.running()) == 9  # members are trials


def test_variants_that_differ_in_numbers_of_a_member_are_handed_out_together(orchestrate):
    """Seed by seed, as ever: after the first one every variant has a row."""
    space = "space={train.lr: [0.03], arch.depth: [3]}"
    orchestrator = orchestrate("seeds=3", space, fused=("baseline", "lr=0.03", "depth=3"))
    handed = [[each[:2] for each in names(orchestrator.ask_group())] for _ in range(2)]
    assert handed == [
        [(name, seed) for seed in range(3) for name in ("baseline", "lr=0.03")],
        [("depth=3", seed) for seed in range(3)],
    ]
    assert orchestrator.ask_group() == ()


def test_a_second_worker_gets_some_of_the_last_seeds(orchestrate):
    orchestrator = orchestrate("seeds=8", "space={arch.attention: [softmax]}")
    assert [len(orchestrator.ask_group(2)) for _ in range(3)] == [4, 2, 2]


def test_a_limit_counts_members(orchestrate):
    orchestrator = orchestrate("seeds=8", limit=5)
    assert len(orchestrator.ask_group()) == 5
    assert orchestrator.ask_group() == ()


def test_members_end_one_by_one(orchestrate, tmp_path):
    orchestrator = orchestrate("seeds=3")
    first, second, third = orchestrator.ask_group()
    orchestrator.report(second.trial_id, {"epoch": 1, "top1": 40.0})
    orchestrator.finish(second.trial_id, Failure(type="NonFiniteLoss", message="training loss is nan in epoch 2"))
    assert [orchestrator.is_running(each.trial_id) for each in (first, second, third)] == [True, False, True]
    orchestrator.finish(first.trial_id, completed())
    orchestrator.finish(third.trial_id, completed())
    records = read_ledger(tmp_path / "run" / "ledger.jsonl").records
    assert [(record.seed, record.status, record.numerics) for record in records] == [
        (1, "failed", "fused"),
        (0, "completed", "fused"),
        (2, "completed", "fused"),
    ]


def test_a_member_that_ran_out_of_memory_trains_once_more_alone(orchestrate):
    """In the form of its variant: a lone member has the numbers that it has among others."""
    orchestrator = orchestrate("seeds=2", "space={arch.attention: [softmax]}")
    first, second = orchestrator.ask_group()
    for each in (first, second):
        orchestrator.finish(
            each.trial_id, Failure(type="OutOfMemory", message="no memory left"), may_retry_exclusively=True
        )
    again = [orchestrator.ask_group() for _ in range(3)]
    assert [names(group) for group in again] == [[("baseline", 0, "fused")], [("baseline", 1, "fused")], []]
    assert [group[0].alone for group in again[:2]] == [True, True]


def test_records_of_trials_by_themselves_are_as_they_always_were(orchestrate, tmp_path):
    orchestrator = orchestrate(fused=())
    (assignment,) = orchestrator.ask_group()
    orchestrator.finish(assignment.trial_id, completed())
    (line,) = (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()
    assert '"numerics":"single"' not in line.replace(" ", "")  # of a record; the spec has the option `auto`
