"""What a seed decides: the forms of `seeds`, its part of the identity, and the messages for what cannot be."""

from __future__ import annotations

import pytest

from runners.trials.form import stack_of
from search_space import SpecError, load_sweep_text, trial_id, variants
from search_space.schema.training.seeding import Seeding

BASELINE = """
name: t
baseline:
  arch: {depth: 2, embed_dim: 16, num_heads: 2, patch_size: 4, drop_path_rate: 0.2, proj_drop_rate: 0.1}
  task: {val_fraction: 0.2}
  train: {epochs: 2, batch_size: 64, hflip: 0.5, mixup: 0.2, lr_noise: [0.1, 0.9]}
"""
ROWS = "space: {arch.depth: [2, 3]}\ndesign: one_factor\n"
ALONE = "design: factorial\n"
FOREIGN = """
name: t
baseline:
  task: {name: command, argv: [python, train.py, "{seed}"], results: {regex: {acc: "acc ([0-9.]+)"}},
         measures: {acc: {direction: maximize, unit: "%"}}}
metric: acc
"""


def sweep(text: str):
    return load_sweep_text(BASELINE + text).sweep


def problems(text: str, head: str = BASELINE) -> list[tuple[str, str, str]]:
    with pytest.raises(SpecError) as caught:
        load_sweep_text(head + text)
    return [(problem.path, problem.message, problem.hint) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "seeds",
    ["[0, 1, 5]", "{values: [0, 1, 5]}", "{values: [0, 1, 5], vary: [dropout, augmentation, order, init]}"],
)
def test_ids_are_what_they_were_before_there_was_a_choice(seeds):
    """Recorded before `vary` existed: ids of three trials, and the name of their stack in plan.json."""
    found = sweep(f"{ROWS}seeds: {seeds}\n")
    ids = [trial_id(found.baseline.with_seed(seed)) for seed in found.seeds]
    assert ids == ["35c43f178988", "e5e6cb0f911a", "359a9520ed48"]
    assert stack_of(found.baseline) == "de690a96511bb3cb"


def test_what_a_seed_decides_is_in_the_ids_of_all_rows():
    usual, init, order = (
        {each.variant_id for each in variants(sweep(f"{ROWS}seeds: {{values: 3, vary: [{name}]}}\n"))}
        for name in ("init, order, augmentation, dropout", "init", "order")
    )
    assert len(usual | init | order) == 6
    both = sweep(f"{ROWS}seeds: {{values: 3, vary: [order, init]}}\n")
    again = sweep(f"{ROWS}seeds: {{values: 2, vary: [init, order]}}\n")
    assert {each.variant_id for each in variants(both)} == {each.variant_id for each in variants(again)}


@pytest.mark.parametrize(
    ("written", "seeds", "seeding"),
    [
        ("{values: 2, vary: [split, init]}", (0, 1), Seeding(vary=("init", "split"))),
        ("{values: [4, 7], vary: [order]}", (4, 7), Seeding(vary=("order",))),
        ("{values: 3}", (0, 1, 2), Seeding()),
    ],
)
def test_seeds_and_what_they_decide(written, seeds, seeding):
    found = sweep(f"{ROWS}seeds: {written}\n")
    assert (found.seeds, found.baseline.train.seeding, found.rounds) == (seeds, seeding, None)
    assert all(each.setting.train.seeding == seeding for each in variants(found))


def test_looks_go_with_what_a_seed_decides():
    found = sweep(f"{ROWS}seeds: {{max: 12, futility: none, vary: [init]}}\n")
    assert found.rounds is not None
    assert (len(found.seeds), found.baseline.train.seeding) == (12, Seeding(vary=("init",)))


def test_a_crossed_design_counts_through_all_combinations():
    found = sweep(f"{ALONE}seeds: {{crossed: {{order: 3, init: 2}}}}\n")
    assert found.seeds == (0, 1, 2, 3, 4, 5)
    levels = [found.baseline.train.seeding.levels_of(seed) for seed in found.seeds]
    assert [tuple(each.values()) for each in levels] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert list(levels[0]) == ["init", "order"]


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        (ROWS + "seeds: {vary: [init]}", "seeds", "does not say how many seeds there are"),
        (ROWS + "seeds: {values: 3, max: 4}", "seeds.max", "has no effect beside `values`: there are no looks"),
        (
            ALONE + "seeds: {crossed: {init: 2, order: 2}, vary: [init]}",
            "seeds.vary",
            "has no effect beside `crossed`, whose sources vary and no others",
        ),
        (
            ALONE + "seeds: {crossed: {init: 2, order: 2}, values: 4}",
            "seeds.values",
            "`crossed` gives the number of seeds itself",
        ),
        (
            ALONE + "seeds: {crossed: {init: 100, order: 100, dropout: 2}}",
            "seeds.crossed",
            "must have at most 10000 combinations, but has 20000",
        ),
        (
            ROWS + "seeds: {values: 2, vary: [init, init]}",
            "seeds.vary",
            'names a source twice, but got ["init", "init"]',
        ),
        (
            ROWS + "seeds: {values: 0, vary: [init]}",
            "seeds.values",
            "must be a count from 1 to 10000, or a list of seeds, but got 0",
        ),
        (
            ROWS + "seeds: {crossed: {init: 2, order: 2}}",
            "seeds.crossed",
            "trainings of a crossed design share levels, so they test no rows: it is of the baseline alone",
        ),
        (
            ROWS + "seeds: {values: 2, vary: [split]}\nkeep_predictions: true",
            "keep_predictions",
            "`split` gives every seed test images of its own, and `keep_predictions` is for the same ones",
        ),
        (
            "space: {arch.depth: [2, 3]}\ndesign: search\nsearch: {num_trials: 2}\nseeds: {values: 2, vary: [split]}",
            "search",
            "with `split` the images that `search` chooses by are test images of other seeds",
        ),
        (
            ROWS + "seeds: {values: 2, vary: [split]}\n"
            "retune: {parameters: {train.lr: {min: 1e-4, max: 1e-2, log: true}}, num_trials: 2, seeds: [100]}",
            "retune",
            "with `split` the images that `retune` chooses by are test images of other seeds",
        ),
        (
            "space: {task.val_fraction: [0.2, 0.3]}\ndesign: one_factor\nseeds: {values: 2, vary: [split]}",
            "space.task.val_fraction",
            "`split` gives every seed splits of its own, the same for all rows, and these have other data",
        ),
        (
            ROWS + "seeds: {values: 2, vary: [split]}\nblocks: {task.dataset: [builtin/digits, builtin/shapes]}",
            "seeds.vary",
            "`split` gives every seed splits of its own, and blocks are trained on theirs with every seed",
        ),
        (
            "space: {train.seeding.vary: [[init], [order]]}\ndesign: one_factor\nseeds: 2",
            "space.train.seeding.vary",
            "what a seed decides cannot differ between trials that are compared at equal seeds",
        ),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(text, path, message):
    found = [(each, what) for each, what, _ in problems(text + "\n")]
    assert (path, message) in found
    assert len(found) == 1


def test_what_a_seed_decides_is_written_in_one_place():
    written = BASELINE.replace("train: {", "train: {seeding: {vary: [init]}, ")
    ((path, message, hint),) = problems(ROWS + "seeds: 3\n", written)
    assert path == "baseline.train.seeding"
    assert (message, hint) == (
        "what a seed decides is written under `seeds`",
        "write  seeds: {values: 5, vary: [init, order]}",
    )


def test_a_split_that_is_not_drawn_does_not_vary():
    head = BASELINE.replace("task: {val_fraction: 0.2}", "task: {dataset: builtin/shapes}")
    ((path, message, _),) = problems(ROWS + "seeds: {values: 2, vary: [split]}\n", head)
    assert (path, message) == (
        "seeds.vary",
        "`split` would vary nothing: builtin/shapes comes with its test split, and no validation split is held out",
    )
    held = head.replace("{dataset: builtin/shapes}", "{dataset: builtin/shapes, val_fraction: 0.2}")
    assert load_sweep_text(held + ROWS + "seeds: {values: 2, vary: [split]}\nkeep_predictions: true\n").sweep.seeds


@pytest.mark.parametrize("written", ["{values: 3, vary: [init]}", "{crossed: {init: 2, order: 2}}"])
def test_a_training_of_the_users_own_decides_itself_what_its_seed_varies(written):
    ((path, message, _),) = problems(f"design: factorial\nseeds: {written}\n", FOREIGN)
    assert path == f"seeds.{'vary' if 'vary' in written else 'crossed'}"
    assert message == (
        "the task 'command' is the user's own training, which is given the seed and decides what it varies"
    )
