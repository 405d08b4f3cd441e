"""Sweeps that measure weights without training: what nothing would use is refused, in which words."""

from __future__ import annotations

import pytest

from search_space import SpecError, load_sweep_text

SWEEP = """
name: released
baseline:
  arch: {model: test_resnet, weights: resnet.pth}
  task: {name: classification, dataset: {name: builtin/shapes}}
  train: {epochs: 0, batch_size: 64, mean: model, std: model, amp: bfloat16}
space: {task.crop_pct: [1.0, 1.13]}
design: one_factor
seeds: 1
"""
WHY = "nothing is trained (train.epochs: 0)"


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_sweep_text(text)
    return [f"{each.path}: {each.message}" for each in caught.value.problems]


def changed(old: str, new: str) -> str:
    assert old in SWEEP
    return SWEEP.replace(old, new)


def test_what_decides_how_weights_are_measured_is_accepted():
    assert load_sweep_text(SWEEP).sweep.baseline.train.epochs == 0


def test_every_option_that_only_a_training_uses_is_refused():
    text = changed("epochs: 0,", "epochs: 0, lr: 0.1, ema_decay: 0.9, recalibrate_bn: 0, mixup: 0.2, warmup_epochs: 3,")
    names = ("lr", "ema_decay", "recalibrate_bn", "mixup", "warmup_epochs")
    assert problems(text) == [f"baseline.train.{name}: {WHY}, so {name} would have no effect" for name in names]


def test_it_is_refused_where_it_is_varied():
    text = changed("task.crop_pct: [1.0, 1.13]", "train.lr: [0.1, 0.2]")
    assert problems(text) == [f"space.train.lr: {WHY}, so train.lr would have no effect"]
    rows = "space: {}\ndesign: {name: list, rows: [{name: other, train.opt: sgd}]}\n"
    text = changed("space: {task.crop_pct: [1.0, 1.13]}\ndesign: one_factor\n", rows)
    assert problems(text) == [f"design.rows[0].train.opt: {WHY}, so train.opt would have no effect"]


def test_where_a_row_trains_its_options_stay():
    text = changed("epochs: 0,", "epochs: 2, warmup_epochs: 1, lr: 0.1, steps: null,")
    sweep = load_sweep_text(
        text.replace("task.crop_pct: [1.0, 1.13]", "train.epochs: [2, 0]").replace("seeds: 1", "seeds: 3")
    )
    assert sweep.sweep.baseline.train.warmup_epochs == 1


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            ", weights: resnet.pth",
            "",
            "baseline.train.epochs: epochs=0 measures the weights of arch.weights as they are, but there are none",
        ),
        (
            "weights: resnet.pth",
            "weights: 'run:runs/first/*'",
            "baseline.train.epochs: epochs=0 continues no training, but got 'run:runs/first/*'",
        ),
        ("epochs: 0,", "epochs: 0, steps: 10,", "baseline.train.steps: epochs=0 does no update, but got steps=10"),
        (
            "epochs: 0,",
            "epochs: 0, head_init_scale: 0.1,",
            "baseline.train.head_init_scale: epochs=0 measures the weights of arch.weights as they are, but "
            "head_init_scale=0.1 changes the head",
        ),
        (
            "seeds: 1",
            "seeds: 3",
            f"seeds: {WHY} and no seed decides the weights, so 3 seeds would give equal numbers",
        ),
        ("seeds: 1", "seeds: 1\nprune: {pruner: median}", f"prune: {WHY}, so there is no epoch to prune at"),
        (
            "{name: classification, dataset: {name: builtin/shapes}}",
            "{name: segmentation}",
            "baseline.train.epochs: the task 'segmentation' does not measure the model of arch.weights alone: epochs=0 "
            "would leave its head fresh",
        ),
    ],
    ids=["no weights", "continued", "steps", "head", "seeds", "prune", "task"],
)
def test_what_cannot_be_measured_without_training_is_refused(old, new, expected):
    text = changed(old, new)
    if "segmentation" in new:  # whose datasets and metric are others
        text = text.replace(", mean: model, std: model", "").replace(
            "task.crop_pct: [1.0, 1.13]", "task.probe_images: [8]"
        )
    assert expected in problems(text)


def test_a_training_of_ones_own_is_not_left_out():
    text = """
name: own
baseline:
  task: {name: command, argv: [python, train.py, --epochs, "{train.epochs}"], measures: {acc: maximize}, metrics: {json: out.json}}
  train: {epochs: 0}
space: {train.epochs: [1, 2]}
design: one_factor
"""  # noqa: E501
    expected = "baseline.train.epochs: the training of the task 'command' is your own, so epochs=0 cannot leave it out"
    assert expected in problems(text)


def test_seeds_that_choose_weights_are_more_than_one():
    """Each takes what the trial of its own seed kept, so that there is a spread."""
    text = changed("weights: resnet.pth", "weights: run:runs/first/baseline").replace("seeds: 1", "seeds: 3")
    assert len(load_sweep_text(text).sweep.seeds) == 3
    assert len(problems(text.replace("first/baseline", "first/baseline@0"))) == 1
