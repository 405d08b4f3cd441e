"""Order, pruning, resume and records by the orchestrator. Tests play the engine: they ask, report and finish."""

from __future__ import annotations

import optuna
import pytest

from results import Failure
from runners.trials.outcome import Outcome

TINY_SEARCH = """
    name: tiny_search
    baseline:
      arch: {model: vit, depth: 2, embed_dim: 20, num_heads: 2, patch_size: 4, class_token: false}
      train: {epochs: 4}
    space:
      arch.depth: [1, 2, 3, 4, 5, 6]
      train.lr: {min: 0.0005, max: 0.01, log: true}
    design: search
    search: {sampler: random, num_trials: 6, seed: 1}
    prune: {pruner: median, n_startup_trials: 2, n_warmup_steps: 0}
    seeds: 1
    metric: top1
"""


def completed(top1: float) -> Outcome:
    return Outcome("completed", {"top1": top1, "loss": 1.0}, train_seconds=1.0, total_seconds=2.0, device="cpu")


def play(orchestrator, values, *, stop_after=None):
    """Trains everything; `values` gives the top1 of each epoch of the n-th trial. Returns (spec, status) in order."""
    ended = []
    while (assignment := orchestrator.ask()) is not None:
        curve = values(len(ended), assignment)
        for epoch, value in enumerate(curve, start=1):
            if orchestrator.report(assignment.trial_id, {"epoch": epoch, "train_loss": 1.0, "top1": value}):
                record = orchestrator.finish(assignment.trial_id, None)
                break
        else:
            record = orchestrator.finish(assignment.trial_id, completed(curve[-1]))
        ended.append((assignment, record))
        if len(ended) == stop_after:
            break
    return ended


def flat(number, assignment):
    return [50.0] * assignment.spec.train.epochs


def test_trials_come_seed_by_seed(write_sweep, open_orchestrator):
    """After the first seed of every variant there is a whole table to look at."""
    ended = play(open_orchestrator(write_sweep()), flat)
    assert [(a.variant.name, a.spec.seed) for a, _ in ended] == [
        ("baseline", 0),
        ("attention=reattention", 0),
        ("attention=groupmix", 0),
        ("baseline", 1),
        ("attention=reattention", 1),
        ("attention=groupmix", 1),
    ]


def test_restart_runs_only_what_the_ledger_does_not_hold(write_sweep, open_orchestrator):
    path = write_sweep()
    first = play(open_orchestrator(path), flat, stop_after=4)
    rest = play(open_orchestrator(path), flat)
    again = play(open_orchestrator(path), flat)
    assert len(rest) == 2
    assert {a.trial_id for a, _ in first}.isdisjoint(a.trial_id for a, _ in rest)
    assert again == []


def test_trial_that_was_running_at_the_crash_runs_again(write_sweep, open_orchestrator):
    path = write_sweep()
    orchestrator = open_orchestrator(path)
    running = orchestrator.ask()
    orchestrator.report(running.trial_id, {"epoch": 1, "train_loss": 1.0, "top1": 10.0})
    assert open_orchestrator(path).ask().trial_id == running.trial_id


def test_edited_sweep_runs_only_what_is_new(write_sweep, open_orchestrator):
    path = write_sweep()
    play(open_orchestrator(path), flat)
    more_seeds = play(open_orchestrator(path, overrides=["seeds=3"]), flat)
    assert [(a.variant.name, a.spec.seed) for a, _ in more_seeds] == [
        ("baseline", 2),
        ("attention=reattention", 2),
        ("attention=groupmix", 2),
    ]


def test_failed_trials_run_again_only_when_asked(write_sweep, open_orchestrator):
    path = write_sweep()
    orchestrator = open_orchestrator(path)
    failing = orchestrator.ask()
    orchestrator.finish(failing.trial_id, Failure(type="ValueError", message="no"))
    play(orchestrator, flat)
    assert play(open_orchestrator(path), flat) == []
    retried = play(open_orchestrator(path, retry=frozenset({"failed"})), flat)
    assert [(a.trial_id, a.attempt, record.status) for a, record in retried] == [(failing.trial_id, 2, "completed")]
    assert play(open_orchestrator(path, retry=frozenset({"failed"})), flat) == []


def test_limit_bounds_what_this_start_begins(write_sweep, open_orchestrator):
    path = write_sweep()
    orchestrator = open_orchestrator(path, limit=2)
    assert orchestrator.num_startable == 2
    assert len(play(orchestrator, flat)) == 2
    assert orchestrator.num_remaining == 4


def test_record_carries_what_a_table_needs(write_sweep, open_orchestrator):
    orchestrator = open_orchestrator(write_sweep(), session="abc")
    assignment = orchestrator.ask()
    orchestrator.report(assignment.trial_id, {"epoch": 1, "train_loss": 2.0, "top1": 30.0})
    orchestrator.report(assignment.trial_id, {"epoch": 2, "train_loss": 1.0, "top1": 40.0})
    record = orchestrator.finish(assignment.trial_id, completed(40.0))
    assert (record.status, record.epochs, record.metrics) == ("completed", 2, {"top1": 40.0, "loss": 1.0})
    assert [point["top1"] for point in record.curve] == [30.0, 40.0]
    assert (record.variant, record.seed, record.session, record.attempt) == ("baseline", 0, "abc", 1)
    # By hand: patches 4*4*1*20+20, positions 4*20, two blocks of (3*20*20+60) + (20*20+20) + 2*40 + (20*40+40)
    # + (40*20+20), last norm 40, head 20*10+10.
    assert record.params_m == pytest.approx((340 + 80 + 2 * (1260 + 420 + 80 + 840 + 820) + 40 + 210) / 1e6)


def test_curve_of_a_trial_that_lost_its_worker_is_the_newer_one(write_sweep, open_orchestrator):
    """Ray restarts the trial from its first epoch; the record must not show epochs twice."""
    orchestrator = open_orchestrator(write_sweep())
    key = orchestrator.ask().trial_id
    for epoch, value in [(1, 10.0), (2, 20.0), (1, 10.0), (2, 20.0)]:
        orchestrator.report(key, {"epoch": epoch, "train_loss": 1.0, "top1": value})
    assert [point["epoch"] for point in orchestrator.finish(key, completed(20.0)).curve] == [1, 2]


def test_pruning_agrees_with_optuna_used_directly(write_sweep, open_orchestrator):
    """The reference is Optuna's own ask/tell loop over the same curves."""
    curves = [[10, 20, 30, 40], [20, 30, 40, 50], [5, 9, 50, 60], [30, 40, 50, 60], [21, 29, 41, 44], [1, 2, 3, 4]]
    orchestrator = open_orchestrator(write_sweep(TINY_SEARCH))
    ended = play(orchestrator, lambda number, _: [float(value) for value in curves[number]])

    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(2, 0))
    expected = []
    for curve in curves:
        trial = study.ask()
        for epoch, value in enumerate(curve, start=1):
            trial.report(value, epoch)
            if trial.should_prune() and epoch < 4:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                expected.append(("pruned", epoch))
                break
        else:
            study.tell(trial, curve[-1])
            expected.append(("completed", 4))
    assert [(record.status, record.epochs) for _, record in ended] == expected
    assert {status for status, _ in expected} == {"completed", "pruned"}


def test_pruner_of_a_resumed_search_knows_the_old_curves(write_sweep, open_orchestrator):
    """Interrupted after three trials, the remaining ones are pruned exactly as without the interruption."""
    curves = [[10, 20, 30, 40], [20, 30, 40, 50], [5, 9, 50, 60], [30, 40, 50, 60], [21, 29, 41, 44], [1, 2, 3, 4]]
    path = write_sweep(TINY_SEARCH)
    whole = play(open_orchestrator(path, run="whole"), lambda n, _: [float(v) for v in curves[n]])
    first = play(open_orchestrator(path, run="parts"), lambda n, _: [float(v) for v in curves[n]], stop_after=3)
    rest = play(open_orchestrator(path, run="parts"), lambda n, _: [float(v) for v in curves[n + 3]])
    head = [(a.trial_id, record.status, record.epochs) for a, record in whole]
    assert [(a.trial_id, record.status, record.epochs) for a, record in first + rest] == head


def test_resumed_search_neither_repeats_nor_forgets(write_sweep, open_orchestrator):
    """What was running at the crash comes first and keeps its parameters; nothing finished is proposed again."""
    path = write_sweep(TINY_SEARCH)
    orchestrator = open_orchestrator(path)
    play(orchestrator, flat, stop_after=2)
    running = [orchestrator.ask(), orchestrator.ask()]
    resumed = open_orchestrator(path)
    ended = play(resumed, flat)
    assert [a.trial_id for a, _ in ended[:2]] == [a.trial_id for a in running]
    assert len(ended) == 4
    assert len({record.trial_id for record in resumed.search_records}) == 6


def test_fully_trained_trial_is_never_called_pruned(write_sweep, open_orchestrator):
    """Successive halving would prune at its last rung, which is the last epoch: that one is paid for."""
    search = TINY_SEARCH.replace(
        "pruner: median, n_startup_trials: 2, n_warmup_steps: 0", "pruner: threshold, lower: 99.0"
    )
    path = write_sweep(search.replace("epochs: 4", "epochs: 1"))
    assert [record.status for _, record in play(open_orchestrator(path), flat)] == ["completed"] * 6


def test_search_first_tries_the_baseline(write_sweep, open_orchestrator):
    path = write_sweep(TINY_SEARCH)
    assert open_orchestrator(path).ask().variant.is_baseline


def test_infeasible_proposals_are_recorded_and_cost_nothing(write_sweep, open_orchestrator):
    path = write_sweep(TINY_SEARCH.replace("metric: top1", 'metric: top1\n    require: ["arch.depth <= 3"]'))
    orchestrator = open_orchestrator(path)
    ended = play(orchestrator, flat)
    assert len(ended) == 6
    assert all(a.spec.arch.depth <= 3 for a, _ in ended)
    infeasible = [record for record in orchestrator.search_records if record.status == "infeasible"]
    assert infeasible
    assert all("arch.depth <= 3 does not hold" in record.failure.message for record in infeasible)


def test_search_that_finds_nothing_new_ends_with_a_message(write_sweep, open_orchestrator):
    """Two cells, six trials asked for: an exhaustive sampler says when it has seen all."""
    few = TINY_SEARCH.replace("arch.depth: [1, 2, 3, 4, 5, 6]", "arch.depth: [1, 2]").replace(
        "      train.lr: {min: 0.0005, max: 0.01, log: true}\n", ""
    )
    orchestrator = open_orchestrator(write_sweep(few.replace("sampler: random", "sampler: brute_force")))
    assert len(play(orchestrator, flat)) == 2
    assert orchestrator.num_remaining == 0


def test_fixed_designs_prune_too(write_sweep, open_orchestrator):
    path = write_sweep(
        """
        name: fixed
        baseline:
          arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, patch_size: 4, class_token: false}
          train: {epochs: 3}
        space: {arch.depth: [1, 2, 3]}
        design: one_factor
        prune: {pruner: median, n_startup_trials: 1, n_warmup_steps: 0}
        metric: top1
        seeds: 1
        """
    )
    ended = play(open_orchestrator(path), lambda number, _: [90.0 - 40 * number] * 3)
    assert [record.status for _, record in ended] == ["completed", "pruned", "pruned"]
    assert ended[1][1].metrics == {}
    assert ended[1][1].curve == [{"epoch": 1, "train_loss": 1.0, "top1": 50.0}]


OUT_OF_MEMORY = Failure(type="OutOfMemory", message="CUDA out of memory")


def test_trial_without_memory_runs_once_more_after_everything_else(write_sweep, open_orchestrator):
    orchestrator = open_orchestrator(write_sweep())
    first = orchestrator.ask()
    assert orchestrator.finish(first.trial_id, OUT_OF_MEMORY, may_retry_exclusively=True).status == "failed"
    *others, last = play(orchestrator, flat)
    assert len(others) == 5
    assert (last[0].trial_id, last[0].alone, last[1].attempt, last[1].status) == (first.trial_id, True, 2, "completed")
    assert orchestrator.ask() is None


def test_trial_that_was_alone_without_memory_stays_failed(write_sweep, open_orchestrator):
    orchestrator = open_orchestrator(write_sweep())
    orchestrator.finish(orchestrator.ask().trial_id, OUT_OF_MEMORY, may_retry_exclusively=False)
    assert len(play(orchestrator, flat)) == 5
    orchestrator = open_orchestrator(write_sweep(), run="again")
    orchestrator.finish(orchestrator.ask().trial_id, OUT_OF_MEMORY, may_retry_exclusively=True)
    play(orchestrator, flat, stop_after=5)
    orchestrator.finish(orchestrator.ask().trial_id, OUT_OF_MEMORY, may_retry_exclusively=True)
    assert orchestrator.ask() is None
    assert orchestrator.num_remaining == 0


def test_lack_of_memory_beside_others_does_not_count_against_the_arm(write_sweep, open_orchestrator):
    """All seeds of an arm that found no memory beside others run alone, however many they are."""
    orchestrator = open_orchestrator(write_sweep(**{"seeds: 2": "seeds: 4"}))
    lacking = []
    while len(lacking) < 4:
        assignment = orchestrator.ask()
        assert not orchestrator.variant_keeps_failing(assignment.trial_id)
        if assignment.variant.name == "attention=reattention":
            lacking.append(assignment)
            orchestrator.finish(assignment.trial_id, OUT_OF_MEMORY, may_retry_exclusively=True)
        else:
            orchestrator.finish(assignment.trial_id, completed(50.0))
    ended = play(orchestrator, flat)
    again = [(each.trial_id, record.status) for each, record in ended if each.alone]
    assert again == [(each.trial_id, "completed") for each in lacking]


def test_lack_of_memory_of_trials_that_were_alone_counts_against_the_arm(write_sweep, open_orchestrator):
    orchestrator = open_orchestrator(write_sweep(**{"seeds: 2": "seeds: 3"}))
    reports = []
    while (assignment := orchestrator.ask()) is not None:
        reports.append(orchestrator.variant_keeps_failing(assignment.trial_id))
        orchestrator.finish(assignment.trial_id, OUT_OF_MEMORY, may_retry_exclusively=False)
    assert reports.count(True) == 3  # the third seed of each of three variants
    assert reports == [False] * 6 + [True] * 3


def test_search_learns_of_the_second_attempt_only(write_sweep, open_orchestrator):
    """A point that memory ran out for beside others is no bad point."""
    orchestrator = open_orchestrator(write_sweep(TINY_SEARCH))
    first = orchestrator.ask()
    orchestrator.finish(first.trial_id, OUT_OF_MEMORY, may_retry_exclusively=True)
    ended = play(orchestrator, flat)
    assert len(ended) == 6
    assert ended[-1][0].trial_id == first.trial_id
    assert [record.status for record in orchestrator.search_records] == ["completed"] * 6


def test_arm_whose_trials_keep_failing_is_reported(write_sweep, open_orchestrator):
    orchestrator = open_orchestrator(write_sweep(**{"seeds: 2": "seeds: 4"}))
    reports = []
    while (assignment := orchestrator.ask()) is not None:
        reports.append((assignment.variant.name, orchestrator.variant_keeps_failing(assignment.trial_id)))
        works = assignment.variant.name == "baseline"
        orchestrator.finish(
            assignment.trial_id, completed(50.0) if works else Failure(type="RuntimeError", message="no")
        )
    bad = [keeps_failing for name, keeps_failing in reports if name != "baseline"]
    assert bad == [False] * 4 + [True] * 4  # two variants, from their third seed on
    assert not any(keeps_failing for name, keeps_failing in reports if name == "baseline")


def test_trial_that_its_node_failed_comes_next(write_sweep, open_orchestrator):
    orchestrator = open_orchestrator(write_sweep())
    first = orchestrator.ask()
    orchestrator.finish(first.trial_id, Failure(type="RuntimeError", message="no driver"))
    orchestrator.run_again(first.trial_id)
    again = orchestrator.ask()
    assert (again.trial_id, again.attempt) == (first.trial_id, 2)
    orchestrator.finish(again.trial_id, completed(50.0))
    assert len(play(orchestrator, flat)) == 5


def test_search_proposes_again_what_its_node_failed(write_sweep, open_orchestrator):
    orchestrator = open_orchestrator(write_sweep(TINY_SEARCH))
    first = orchestrator.ask()
    orchestrator.finish(first.trial_id, Failure(type="RuntimeError", message="no driver"))
    orchestrator.run_again(first.trial_id)
    assert len(play(orchestrator, flat)) == 6


@pytest.mark.parametrize("text", [[], [TINY_SEARCH]], ids=["fixed", "search"])
def test_preempted_trial_decides_nothing_and_runs_again(write_sweep, open_orchestrator, text):
    orchestrator = open_orchestrator(write_sweep(*text))
    planned = orchestrator.num_remaining
    first = orchestrator.ask()
    record = orchestrator.finish(first.trial_id, Outcome("preempted"))
    assert (record.status, record.version) == ("preempted", 2)
    assert orchestrator.num_remaining == planned
    assert orchestrator.records == {}
    asked = []
    while (assignment := orchestrator.ask()) is not None:
        asked.append(assignment)
        orchestrator.finish(assignment.trial_id, Failure(type="Stub", message=""))
    assert len(asked) == planned
    assert asked[-1].trial_id == first.trial_id
    assert asked[-1].attempt == 1


def test_continued_trial_has_the_whole_curve(write_sweep, open_orchestrator):
    orchestrator = open_orchestrator(write_sweep())
    key = orchestrator.ask().trial_id
    curve = [{"epoch": 1, "top1": 10.0}]
    orchestrator.resume(key, curve)
    orchestrator.report(key, {"epoch": 2, "top1": 20.0})
    record = orchestrator.finish(key, Outcome("completed", {"top1": 20.0}))
    assert record.curve == [*curve, {"epoch": 2, "top1": 20.0}]
    assert (record.epochs, record.resumed_from_epoch) == (2, 1)
