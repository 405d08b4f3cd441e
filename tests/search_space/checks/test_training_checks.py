"""Relations between training options are found in a file, with places: baseline, profiles, values, rows, `retune`."""

from __future__ import annotations

import pytest

from search_space import SpecError, load_sweep_text
from search_space.settings.training_relations import broken_relations

HEAD = """name: t
baseline:
  arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1}
  task: {dataset: builtin/digits, val_fraction: 0.2}
"""
SEARCH = "design: search\nsearch: {sampler: random, num_trials: 3}\n"
WARMUP = "warmup_epochs < epochs must hold, but got warmup_epochs={}, epochs={}"
ODD = "mixup and cutmix mix pairs: batch_size must be even, but got {}"


def problems(train: str, rest: str, profile: str | None = None) -> list[tuple[str, str, str]]:
    """(line:column, path, message) of every problem; the section `train` is line 5, the rest begins in line 6."""
    try:
        load_sweep_text(f"{HEAD}  train: {{{train}}}\n{rest}", "s", profile=profile)
    except SpecError as err:
        return [(problem.where.removeprefix("s:"), problem.path, problem.message) for problem in err.problems]
    return []


@pytest.mark.parametrize(
    ("train", "space", "expected"),
    [
        (
            "epochs: 2",
            "{train.warmup_epochs: {min: 0, max: 4}}",
            [("6:44", "space.train.warmup_epochs.max", WARMUP.format(4, 2))],
        ),
        (
            "epochs: 1",
            "{train.lr: [1e-6, 1e-3]}",
            [("6:20", "space.train.lr[0]", "min_lr <= lr must hold, but got min_lr=1e-05, lr=1e-06")],
        ),
        (
            "epochs: 1, mixup: 0.2",
            "{train.batch_size: [254, 255]}",
            [("6:33", "space.train.batch_size[1]", ODD.format(255))],
        ),
        ("epochs: 1, mixup: 0.2", "{train.batch_size: [1, 2]}", [("6:28", "space.train.batch_size[0]", ODD.format(1))]),
        (
            "epochs: 1",
            "{train.grayscale_prob: [0, 0.4]}",
            [
                (
                    "6:35",
                    "space.train.grayscale_prob[1]",
                    "images of 'builtin/digits' are grey, so grayscale_prob=0.4 would have no effect",
                )
            ],
        ),
        (
            "epochs: 1",
            "{task.similarity_threshold: [0.9, 0.8]}",
            [
                (
                    "6:42",
                    "space.task.similarity_threshold[1]",
                    "without `similar_blocks` in probes, similarity_threshold=0.8 would have no effect",
                )
            ],
        ),
        (
            "epochs: 1",
            "{train.sched: [cosine, plateau]}",
            [
                (
                    "6:31",
                    "space.train.sched[1]",
                    "timm gives 'plateau' up, and what it has seen is in no checkpoint",
                )
            ],
        ),
        (
            "epochs: 1",
            "{recipe: {off: {train.mixup: 0}, on: {train.mixup: 0.2, train.batch_size: 63}}}",
            [("6:82", "space.recipe.on.train.batch_size", ODD.format(63))],
        ),
        (
            "epochs: 1, sched: constant",
            "{train.lr: [1e-3, 1e-6], train.sched: [cosine, poly]}",
            [("6:26", "space.train.lr[1]", "min_lr <= lr must hold, but got min_lr=1e-05, lr=1e-06")],
        ),
        (
            "epochs: 2",
            "{task.dataset: [{value: builtin/shapes, with: {num_train: [1, 64]}}], train.cutmix: [1.0]}",
            [
                (
                    "6:67",
                    "space.task.dataset[0].with.num_train[0]",
                    "mixup and cutmix mix pairs, but there is only one training image",
                )
            ],
        ),
    ],
)
def test_a_value_that_no_other_value_mends_is_refused_at_its_place(
    train: str, space: str, expected: list[tuple[str, str, str]]
) -> None:
    assert problems(train, f"space: {space}\n{SEARCH}") == expected


@pytest.mark.parametrize(
    ("train", "space"),
    [
        ("epochs: 4", "{train.warmup_epochs: [0, 3], train.epochs: [2, 4]}"),
        ("epochs: 4", "{train.warmup_epochs: {min: 0, max: 3}, train.epochs: {min: 2, max: 4}}"),
        ("epochs: 1", "{train.batch_size: [254, 255], train.mixup: [0, 0.2]}"),
        ("epochs: 1, mixup: 0.2, batch_size: 64", "{train.batch_size: {min: 2, max: 256}}"),
        ("epochs: 1", "{train.lr: [1e-6, 1e-3], train.sched: [cosine, constant]}"),
        ("epochs: 1", "{task.similarity_threshold: [0.9, 0.8], task.probes: [[], [similar_blocks]]}"),
    ],
)
def test_a_value_that_another_value_mends_is_left_to_the_search(train: str, space: str) -> None:
    assert problems(train, f"space: {space}\n{SEARCH}") == []


def test_a_change_at_a_time_has_nothing_that_mends_it() -> None:
    space = "space: {train.warmup_epochs: [0, 3], train.epochs: [2, 4]}\n"
    assert problems("epochs: 2", space + "design: one_factor\n") == [
        ("6:34", "space.train.warmup_epochs[1]", WARMUP.format(3, 2))
    ]


@pytest.mark.parametrize("design", ["factorial", "zip"])
def test_a_row_of_a_design_must_be_legal(design: str) -> None:
    space = "space: {train.warmup_epochs: [0, 3], train.epochs: [4, 2], arch.depth: [1, 2]}\n"
    name = "warmup_epochs=3, epochs=2" + (", depth=2" if design == "zip" else "")
    assert problems("epochs: 4", f"{space}design: {design}\n") == [
        (
            "6:1",
            "space",
            f"the variant {name!r} cannot be trained: train.warmup_epochs: " + WARMUP.format(3, 2),
        )
    ]


def test_rows_that_require_drops_may_break_a_relation() -> None:
    space = "space: {train.warmup_epochs: [0, 3], train.epochs: [4, 2], arch.depth: [1, 2]}\ndesign: factorial\n"
    assert problems("epochs: 4", space + "require: [train.warmup_epochs < train.epochs]\n") == []
    assert problems("epochs: 4", space + "require: [train.warmup_epochs < train.epochs or arch.depth == 1]\n") == [
        ("6:1", "space", "the variant 'warmup_epochs=3, epochs=2' cannot be trained: train.warmup_epochs: "
         + WARMUP.format(3, 2))
    ]  # fmt: skip


def test_a_listed_row_is_reported_at_the_value_to_change() -> None:
    design = "design: {name: list, rows: [{train.epochs: 3}, {train.mixup: 0.1, train.batch_size: 33, name: odd}]}\n"
    assert problems("epochs: 4", design) == [("6:85", "design.rows[1].train.batch_size", ODD.format(33))]


def test_retune_is_checked_like_a_search() -> None:
    rest = "space: {arch.depth: [1, 2]}\ndesign: one_factor\n"
    retune = "retune: {parameters: {train.warmup_epochs: [0, 3, 5]}, num_trials: 3, seeds: [100]}\n"
    assert problems("epochs: 1", rest + retune) == [
        ("8:48", "retune.parameters.train.warmup_epochs[1]", WARMUP.format(3, 1)),
        ("8:51", "retune.parameters.train.warmup_epochs[2]", WARMUP.format(5, 1)),
    ]


def test_profiles_are_checked_without_being_asked_for() -> None:
    rest = "design: one_factor\nprofiles: {quick: {train.epochs: 2}}\n"
    message = WARMUP.format(2, 2)
    at = "baseline.train.warmup_epochs"
    assert problems("epochs: 4, warmup_epochs: 2", rest) == [
        ("5:37", at, f"with the profile 'quick': {message}"),
    ]
    assert problems("epochs: 4, warmup_epochs: 2", rest, profile="quick") == [("5:37", at, message)]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            "sched: rsqrt, epochs: 4",
            "'rsqrt' decays on the time scale of its warm-up, so warmup_epochs >= 1 must hold, but got 0",
        ),
        # 1,438 training images without the 288 of the validation split make one batch of 1,024, twice.
        (
            "sched: wsd, epochs: 3, warmup_epochs: 1, batch_size: 1024",
            "'wsd' needs at least 3 updates after the warm-up, but there are 2",
        ),
        (
            "sched: rsqrt, epochs: 2, warmup_epochs: 1, batch_size: 1024",
            "'rsqrt' needs at least 3 updates after the warm-up, but there is 1",
        ),
        ("warmup_prefix: true, epochs: 4", "without warmup_epochs warmup_prefix would have no effect"),
        (
            "warmup_prefix: true, epochs: 4, warmup_epochs: 1, sched: wsd",
            "'wsd' begins after the warm-up anyway, so warmup_prefix would have no effect",
        ),
        (
            "warmup_prefix: true, epochs: 95, warmup_epochs: 5, sched: step",
            "'step' decays first after epoch 90 after warmup_epochs=5, but epochs=95",
        ),
    ],
)
def test_schedules_that_timm_would_refuse_or_that_change_nothing(train: str, message: str) -> None:
    assert [found for _, _, found in problems(train, "design: one_factor\n")] == [message]


@pytest.mark.parametrize("updates", [3, 4])
def test_three_updates_are_enough_for_wsd(updates: int) -> None:
    assert problems(f"sched: wsd, epochs: {updates}, batch_size: 1024", "design: one_factor\n") == []


def test_shipped_defaults_break_no_relation() -> None:
    sweep = load_sweep_text(HEAD + "design: one_factor\n").sweep
    assert broken_relations(sweep.baseline) == []


def test_a_published_row_has_values_that_a_variant_can_have() -> None:
    rest = "design: one_factor\npublished: [{when: {arch.depth: deep}, top1: 80.0, source: a paper}]\n"
    assert problems("epochs: 4", rest) == [
        ("7:33", "published[0].when.arch.depth", "must be a whole number, but got 'deep'")
    ]
    option = "published: [{when: {arch.attention.expansion: 2}, top1: 80.0, source: a paper}]\n"
    assert problems("epochs: 4", "design: one_factor\n" + option) == []  # some row may be a refiner


def test_an_unreadable_requirement_is_reported_beside_the_rows_of_a_factorial():
    """Rows are checked after `require`, which must be read first."""
    rest = 'design: factorial\nspace: {train.lr: [0.001, 0.002], arch.depth: [1, 2]}\nrequire: ["train.lr < 09"]\n'
    (found,) = problems("epochs: 1", rest)
    assert found[1] == "require[0]"
    assert found[2].startswith("'train.lr < 09' is not a requirement: it cannot be read: ")
