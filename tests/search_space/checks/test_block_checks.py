"""Sweeps with blocks: their variants and identities, and what is refused with its place."""

from __future__ import annotations

import pytest

from search_space import SpecError, count_upper, load_sweep_text, variants

HEAD = """name: demo
baseline:
  arch: {model: vit, depth: 1, embed_dim: 16, num_heads: 2, img_size: 8, patch_size: 4}
  task: {dataset: {name: folder/leaves, folds: 3}}
space: {arch.depth: [1, 2]}
design: one_factor
"""


def problems(text: str) -> list[tuple[str, str]]:
    with pytest.raises(SpecError) as caught:
        load_sweep_text(HEAD + text, "s.yaml")
    return [(each.where, each.message) for each in caught.value.problems]


def ids(text: str) -> dict[str, str]:
    return {each.name: each.variant_id for each in variants(load_sweep_text(text).sweep)}


def test_a_variant_in_a_block_is_the_setting_with_the_value_of_the_block():
    """Its identity is that of the same setting without blocks, so that caches and earlier runs serve."""
    found = ids(HEAD + "blocks: {task.dataset.fold: all}\n")
    assert list(found) == [f"{name} [fold={fold}]" for fold in range(3) for name in ("baseline", "depth=2")]
    for fold in range(3):
        alone = ids(HEAD.replace("folds: 3", f"folds: 3, fold: {fold}"))
        assert [found[f"{name} [fold={fold}]"] for name in alone] == list(alone.values())


def test_variants_of_one_treatment_differ_in_their_blocks_alone():
    sweep = load_sweep_text(HEAD + "blocks: {task.dataset.fold: [0, 2]}\n").sweep
    found = list(variants(sweep))
    assert [each.block for each in found] == ["fold=0", "fold=0", "fold=2", "fold=2"]
    assert [each.treatment for each in found] == [found[0].variant_id, found[1].variant_id] * 2
    assert [each.changes for each in found] == [{}, {"arch.depth": 2}] * 2
    assert [each.is_baseline for each in found] == [True, False] * 2
    assert count_upper(sweep) == 2 * count_upper(load_sweep_text(HEAD).sweep)


def test_a_block_brings_along_what_else_differs():
    text = (
        "blocks:\n  task.dataset:\n    - builtin/digits\n"
        "    - {value: {name: builtin/shapes, num_train: 99}, name: few, also: {train.epochs: 7}}\n"
    )
    found = list(variants(load_sweep_text(HEAD + text).sweep))
    assert [each.name for each in found][::2] == ["baseline [builtin/digits]", "baseline [few]"]
    assert [each.setting.train.epochs == 7 for each in found] == [False, False, True, True]
    assert [each.setting.task.dataset.name for each in found][::2] == ["builtin/digits", "builtin/shapes"]


def test_a_sweep_without_blocks_has_neither_block_nor_treatment():
    assert {(each.block, each.treatment) for each in variants(load_sweep_text(HEAD).sweep)} == {("", "")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("blocks: {task.dataset.fold: [0]}", ("s.yaml:7:29", "needs at least 2 values, but got [0]")),
        ("blocks: {task.dataset.fold: [0, 1, 1]}", ("s.yaml:7:36", "is the same as block 2 of this list")),
        ("blocks: {task.dataset.fold: [0, {name: z}]}", ("s.yaml:7:33", "has no `value`")),
        ("blocks: {task.dataset.fold: 3}", ("s.yaml:7:29", "must be a list of two or more values, but got 3")),
        ("blocks: {arch.deepness: [1, 2]}", ("s.yaml:7:10", "unknown path 'arch.deepness'")),
        ("blocks: {arch.depth: [1, 3]}", ("s.yaml:7:10", "'arch.depth' is also varied by the sweep")),
        (
            "blocks: {task.dataset.fold: [0, 1], train.lr: [0.1, 0.2]}",
            ("s.yaml:7:37", "blocks have one path, and that is 'task.dataset.fold'"),
        ),
        (
            "blocks: {train.lr: [0.1, {value: 0.2, also: {arch.depth: 3}}]}",
            ("s.yaml:7:46", "'arch.depth' is also varied by the sweep"),
        ),
        (
            "blocks: {task.dataset.fold: [0, {value: 1, also: {train.epochs: 3}}]}",
            (
                "s.yaml:7:51",
                "they differ in their images alone: the test takes their training splits for parts of one whole",
            ),
        ),
        (
            "blocks: {train.lr: [{value: 0.1, name: a}, {value: 0.2, name: a}]}",
            ("s.yaml:7:40", "the name 'a' is that of several blocks"),
        ),
        (
            "blocks: {train.lr: [{value: 0.1, name: ema}, 0.2]}",
            ("s.yaml:7:40", "'ema' cannot be part of a column's name"),
        ),
        (
            "blocks: {task.dataset.folds: all}",
            (
                "s.yaml:7:30",
                "`all` is every fold of a dataset: write the number of `folds` of baseline.task.dataset, but got 'all'",
            ),
        ),
    ],
)
def test_blocks_that_are_none_are_refused_with_their_place(text, expected):
    assert expected in problems(text + "\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "prune: {pruner: median}",
            "`prune` does not go together with `blocks`: a pruner compares a trial with those of other blocks",
        ),
        (
            "match: {cost: params_m, by: arch.embed_dim}",
            "`match` does not go together with `blocks`: a variant would be matched in each block by itself, and be "
            "another one in each",
        ),
        (
            "keep_predictions: true",
            "`keep_predictions` does not go together with `blocks`: its error is that of one test split",
        ),
        (
            "analysis: {correction: dunnett}",
            "the correction 'dunnett' does not go together with `blocks`: splits share training images, and Dunnett's "
            "test needs independent pairs",
        ),
    ],
)
def test_what_compares_trials_of_several_blocks_is_refused(text, message):
    assert message in [each for _, each in problems(f"blocks: {{task.dataset.fold: all}}\n{text}\n")]


def test_a_search_has_no_blocks():
    text = (
        HEAD.replace("design: one_factor", "design: search") + "search: {num_trials: 3}\nblocks: {train.lr: [1, 2]}\n"
    )
    with pytest.raises(SpecError, match="a search has no blocks"):
        load_sweep_text(text)


def test_a_margin_is_for_folds_alone():
    margin = "analysis: {margin: 0.5}\n"
    load_sweep_text(HEAD + "blocks: {task.dataset.fold: all}\n" + margin)
    found = problems("blocks: {train.lr: [0.1, 0.2]}\n" + margin)
    assert [each for _, each in found] == [
        "a margin needs an interval of the mean over the blocks, which blocks of different kind do not have"
    ]


def test_all_problems_come_at_once():
    found = problems("blocks: {task.dataset.fold: [0, 1, 7]}\nprune: {pruner: median}\nkeep_predictions: true\n")
    assert [where for where, _ in found] == ["s.yaml:7:36", "s.yaml:8:1", "s.yaml:9:1"]


def test_blocks_can_be_overridden():
    sweep = load_sweep_text(
        HEAD + "blocks: {task.dataset.fold: all}\n", overrides=["blocks.task.dataset.fold=[0, 1]"]
    ).sweep
    assert [block.value for block in sweep.blocks["task.dataset.fold"]] == [0, 1]
