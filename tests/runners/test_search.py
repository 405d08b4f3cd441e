"""Searches: the sampler learns what is feasible, workers never get the same trial, a resumed search goes on."""

from __future__ import annotations

import pytest

from runners.outcome import Outcome

SEARCH = """
    name: searched
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, patch_size: 4, class_token: false}
      train: {epochs: 1}
    space:
      arch.depth: {min: 1, max: 12}
      train.lr: {min: 0.0005, max: 0.01, log: true}
    require: ["arch.depth <= 3"]
    design: search
    search: {sampler: tpe, num_trials: 30, seed: 7, n_startup_trials: 5}
"""

DISCRETE = """
    name: discrete
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, patch_size: 4, class_token: false}
      train: {epochs: 1}
    space: {arch.depth: [1, 2, 3, 4], arch.mlp_ratio: [1, 2, 3]}
    design: search
    search: {sampler: brute_force, num_trials: 50, seed: 7}
"""


def finish(book, assignment):
    """Accuracy has nothing to do with depth: only the requirement can tell the sampler where to look."""
    value = 50 + 1000 * assignment.spec.train.lr
    book.report(assignment.trial_id, {"epoch": 1, "train_loss": 1.0, "top1": value})
    return book.finish(assignment.trial_id, Outcome("completed", {"top1": value}))


def play(book, *, stop_after=None):
    ended = []
    while len(ended) != stop_after and (assignment := book.ask()) is not None:
        finish(book, assignment)
        ended.append(assignment)
    return ended


def num_infeasible(book):
    return sum(record.status == "infeasible" for record in book.records.values())


def test_tpe_learns_what_is_feasible(write_sweep, open_book):
    """A quarter of the space is feasible: 30 trained trials cost a blind sampler about 90 infeasible proposals."""
    learning = open_book(write_sweep(SEARCH), run="learning")
    assert len(play(learning)) == 30
    blind = open_book(write_sweep(SEARCH.replace("tpe", "random").replace(", n_startup_trials: 5", "")), run="blind")
    assert len(play(blind)) == 30
    assert num_infeasible(blind) > 60
    assert num_infeasible(learning) < 30


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp", "nsgaii"])
def test_an_interrupted_search_proposes_what_it_would_have(write_sweep, open_book, sampler):
    """Killed twice, with infeasible proposals before and between."""
    text = (
        SEARCH.replace("tpe", sampler).replace(", n_startup_trials: 5", "").replace("num_trials: 30", "num_trials: 12")
    )
    whole = [a.trial_id for a in play(open_book(write_sweep(text), run="whole"))]
    parts = [
        a.trial_id for stop in (4, 3, None) for a in play(open_book(write_sweep(text), run="parts"), stop_after=stop)
    ]
    assert parts == whole
    assert len(whole) == 12


def test_eight_workers_never_get_the_same_trial(write_sweep, open_book):
    book = open_book(write_sweep(DISCRETE))
    running, seen = [], []
    while True:
        while len(running) < 8 and (assignment := book.ask()) is not None:
            running.append(assignment)
            seen.append(assignment.trial_id)
        if not running:
            break
        finish(book, running.pop(0))
    assert len(seen) == len(set(seen)) == 12  # the whole space, and then the search ends


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_parallel_samplers_repeat_nothing_either(write_sweep, open_book, sampler):
    book = open_book(write_sweep(DISCRETE.replace("brute_force", sampler).replace("num_trials: 50", "num_trials: 10")))
    running = [book.ask() for _ in range(8)]
    assert len({assignment.trial_id for assignment in running}) == 8
    for assignment in running:
        finish(book, assignment)
    more = play(book)
    assert len({a.trial_id for a in [*running, *more]}) == 10
