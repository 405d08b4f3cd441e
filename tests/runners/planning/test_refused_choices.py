"""What only timm and the data know is refused before the run, at its place, for designs, searches and `retune`."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from runners.planning.make_plan import make_plan
from runners.training import training_relations
from search_space import ClassificationSpec, Setting, SpecError, load_sweep_text
from search_space.schema.trial import DigitsSpec, ShapesSpec
from search_space.settings.training_relations import num_builtin_images

HEAD = """name: t
baseline:
  arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1%s}
  task: {dataset: builtin/digits, val_fraction: 0.2}
  train: {epochs: 1, batch_size: 256%s}
"""
SEARCH = "design: search\nsearch: {sampler: random, num_trials: 3}\n"
SGD = "momentum: 0.5, opt: sgd"


def problems(rest: str, *, arch: str = "", train: str = "") -> list[tuple[str, str, str, str]]:
    """(line:column, path, message, end of the hint) of every problem; the rest begins in line 6."""
    try:
        make_plan(load_sweep_text(HEAD % (arch and f", {arch}", train and f", {train}") + rest, "s"))
    except SpecError as err:
        return [
            (each.where.removeprefix("s:"), each.path, each.message, each.hint.rpartition("  ")[2])
            for each in err.problems
        ]
    return []


@pytest.mark.parametrize("design", ["design: one_factor\n", "design: factorial\n", SEARCH])
def test_an_unknown_optimizer(design: str) -> None:
    assert problems("space: {train.opt: [adamw, adamww]}\n" + design) == [
        ("6:28", "space.train.opt[1]", "unknown optimizer 'adamww'", "Did you mean 'adamw'?")
    ]


def test_an_option_that_another_value_gives_an_effect_is_left_to_the_search() -> None:
    space = "space: {train.opt: [sgd, adamw], train.momentum: [0.9, 0.5]}\n"
    assert problems(space + SEARCH) == []
    assert [found[2] for found in problems(space + "design: factorial\n")] == [
        "the variant 'momentum=0.5' cannot be trained: train.momentum: 'adamw' has no momentum, so 0.5 "
        "would have no effect"
    ]
    require = "require: [\"train.opt == 'sgd' or train.momentum == 0.9\"]\n"
    assert problems(space + "design: factorial\n" + require) == []


def test_an_option_of_a_mechanism_that_no_placebo_has() -> None:
    """The mechanism by itself can be built with it."""
    space = "space: {arch.attention: {off: softmax, on: {name: reattention, norm: layer}%s}}\ndesign: add_one_in\n"
    assert problems(space % "") == []
    assert problems(space % ", placebo: true") == [
        (
            "6:78",
            "space.arch.attention.placebo",
            "arch.attention.norm: no placebo has this option: a norm over the heads mixes their maps, too",
            "choose norm: batch or norm: none, or remove `placebo`",
        )
    ]


def test_retune_over_an_unknown_optimizer() -> None:
    rest = "space: {arch.depth: [1, 2]}\ndesign: one_factor\n"
    retune = "retune: {parameters: {train.opt: [adamw, nosuch]}, num_trials: 2, seeds: [9]}\n"
    assert [(where, path, message) for where, path, message, _ in problems(rest + retune)] == [
        ("8:42", "retune.parameters.train.opt[1]", "unknown optimizer 'nosuch'")
    ]


@pytest.mark.parametrize(
    ("rest", "where", "path"),
    [
        ("space: {arch.options.qk_nrom: [true, false]}\ndesign: one_factor\n", "6:9", "space.arch.options.qk_nrom"),
        ("space: {arch.options.qk_nrom: [true, false]}\n" + SEARCH, "6:9", "space.arch.options.qk_nrom"),
        ("space: {arch.options: [{qk_norm: true}, {qk_nrom: true}]}\n" + SEARCH, "6:41", "space.arch.options[1]"),
        (
            "design: {name: list, rows: [{arch.depth: 2}, {arch.depth: 2, arch.options.qk_nrom: true}]}\n",
            "6:62",
            "design.rows[1].arch.options.qk_nrom",
        ),
        (
            "space: {norm: {off: {arch.depth: 1}, on: {arch.options.qk_nrom: true}}}\ndesign: add_one_in\n",
            "6:43",
            "space.norm.on.arch.options.qk_nrom",
        ),
    ],
)
def test_a_misspelled_model_option_is_refused_and_not_dropped(rest: str, where: str, path: str) -> None:
    message = "'qk_nrom' is not an option of 'vit'"
    assert problems(rest) == [(where, path, message, "Did you mean 'qk_norm'?")]


@pytest.mark.parametrize("design", ["design: one_factor\n", SEARCH])
def test_a_misspelled_option_of_a_timm_model(design: str) -> None:
    arch = "model: deit_tiny_patch16_224"
    head = HEAD.replace("model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1%s", arch)
    text = head.replace("%s", "") + "space: {arch.options.init_valuse: [0.1, 0.2]}\n" + design
    with pytest.raises(SpecError) as caught:
        make_plan(load_sweep_text(text, "s"))
    (problem,) = caught.value.problems
    assert (problem.where, problem.message) == (
        "s:6:9",
        "'deit_tiny_patch16_224' takes no init_valuse, but 0.2 is given",
    )
    assert problem.hint.endswith("  Did you mean 'init_values'?")


def test_a_misspelled_option_of_the_baseline_of_a_search() -> None:
    space = "space: {arch.depth: [1, 2]}\n"
    assert [found[:3] for found in problems(space + SEARCH, arch="options: {qk_nrom: true}")] == [
        ("3:99", "baseline.arch.options.qk_nrom", "'qk_nrom' is not an option of 'vit'")
    ]


def test_a_text_that_timm_cannot_use_is_refused_but_a_size_is_dropped() -> None:
    (found,) = problems("space: {arch.options.norm_layer: [layernorm, layernrom]}\ndesign: one_factor\n")
    assert found[:3] == (
        "6:46",
        "space.arch.options.norm_layer[1]",
        "timm cannot build 'vit' with norm_layer='layernrom': KeyError: 'layernrom'",
    )
    plan = make_plan(load_sweep_text(HEAD % ("", "") + "space: {arch.num_heads: [1, 3]}\ndesign: one_factor\n"))
    assert [entry.variant.name for entry in plan.dropped] == ["num_heads=3"]


def test_an_option_that_one_of_the_models_has_is_no_slip() -> None:
    space = "space: {arch.model: [vit, regionvit_tiny], arch.options.qk_norm: [true, false]}\n"
    assert problems(space + SEARCH) == []


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.33])
@pytest.mark.parametrize("dataset", [DigitsSpec(), ShapesSpec(img_size=8, num_train=15, num_test=4)])
def test_the_number_of_built_in_images_is_that_of_the_data(dataset: DigitsSpec | ShapesSpec, fraction: float) -> None:
    from runners.data import describe_dataset
    from search_space import Resources

    task = ClassificationSpec(dataset=dataset, val_fraction=fraction)
    assert num_builtin_images(task) == describe_dataset(task, Resources()).num_train


def test_what_timm_refuses_of_other_datasets_is_found_by_building_the_schedule() -> None:
    """15 images in batches of 8: one update in each of 2 epochs. `wsd` needs three."""
    from runners.data import DataInfo
    from search_space.schema.trial import TimmDatasetSpec, TrainSpec

    info = DataInfo("folder/toy", (8, 8), 3, 2, 15, 0, 4, (0.5,) * 3, (0.5,) * 3, "loader")
    task = ClassificationSpec(dataset=TimmDatasetSpec(name="folder/toy"))
    train = TrainSpec(sched="wsd", epochs=2, batch_size=8)
    (broken,) = training_relations(Setting(task=task, train=train), lambda task: info, num_processes=1)
    assert broken.path == "train.sched"
    assert broken.message.startswith("'wsd' cannot be made for 2 epochs of 1 updates: wsd schedule requires ")
    longer = train.model_copy(update={"epochs": 3})
    assert training_relations(Setting(task=task, train=longer), lambda task: info, num_processes=1) == []


def test_a_metric_that_the_data_does_not_have(tmp_path) -> None:
    """As the metric, and as an objective of a search; every trial would fail."""
    for number in range(8):
        folder = tmp_path / ("train", "val")[number // 4] / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 20 * number, np.uint8)).save(folder / f"{number}.png")
    rest = f"resources: {{data_dir: {tmp_path.parent}}}\nspace: {{arch.mlp_ratio: [1, 2]}}\n"
    head = HEAD.replace("dataset: builtin/digits, val_fraction: 0.2", f"dataset: folder/{tmp_path.name}") % ("", "")
    for text in ("design: one_factor\nmetric: top5\n", SEARCH.replace("}", ", objectives: [top1, top5]}")):
        with pytest.raises(SpecError) as caught:
            make_plan(load_sweep_text(head + rest + text, "s"))
        (found,) = caught.value.problems
        assert found.path == "baseline.task.dataset"
        assert found.message == f"'folder/{tmp_path.name}' has 2 classes, and top5 is measured from 6 on"
        assert found.hint == "write another metric: top1, loss, balanced_accuracy, macro_f1, auroc, ece"
