"""Options of timm's train.py that no table of schedules or transforms has: first weights of the head, rate by batch,
arguments of the optimizer, splits of the augmentation."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from timm.layers.classifier import ClassifierHead
from timm.optim import create_optimizer_v2
from torch import nn

from modelzoo import build_model
from modelzoo.official.head_start import start_head
from runners.data import describe_dataset
from runners.planning.make_plan import make_plan
from runners.training.optimization.optimizer import optimizer_options
from runners.training.optimization.schedule import learning_rates, peak_learning_rate
from runners.training.trial import run_trial
from search_space import SpecError, load_sweep_text
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import ArchSpec, ClassificationSpec, ShapesSpec, TrainSpec, TrialSpec

TINY = ArchSpec(depth=1, embed_dim=16, num_heads=2, patch_size=4, mlp_ratio=2.0)
SHAPES = ClassificationSpec(dataset=ShapesSpec(img_size=8, num_train=16, num_test=8))
KEEP = Checkpoints(min_seconds=0, keep="last")
SPLITS = {
    "aug_splits": 3, "jsd_loss": True, "aa": "augmix-m3", "reprob": 0.5, "resplit": True, "smoothing": 0.1,
    "head_init_scale": 0.5, "lr_base": 2e-3, "opt_kwargs": {"amsgrad": True},
}  # fmt: skip


def model_of(**arch) -> nn.Module:
    return build_model(ArchSpec(**{**TINY.model_dump(), **arch}), img_size=8, in_chans=3, num_classes=5, seed=0)


def test_the_head_begins_as_timms_train_py_lets_it():
    """Its lines by hand: both are multiplied by the scale, then the bias is set."""
    for scale, bias in ((0.25, None), (None, -4.6), (0.25, -4.6)):
        expected, found = model_of(), model_of()
        nn.init.constant_(expected.head.bias, 0.5), nn.init.constant_(found.head.bias, 0.5)
        with torch.no_grad():
            expected.get_classifier().weight.mul_(1.0 if scale is None else scale)
            expected.get_classifier().bias.mul_(1.0 if scale is None else scale)
        if bias is not None:
            nn.init.constant_(expected.get_classifier().bias, bias)
        start_head(found, scale=scale, bias=bias)
        other = expected.state_dict()
        assert all(torch.equal(value, other[name]) for name, value in found.state_dict().items())


def test_a_head_without_weights_or_bias_is_refused():
    with pytest.raises(SpecError, match="has no classifier with weights") as caught:
        start_head(nn.Sequential(ClassifierHead(4, 2)), scale=0.1, bias=None)
    assert caught.value.problems[0].path == "train.head_init_scale"
    model = model_of()
    model.head = nn.Linear(16, 5, bias=False)
    start_head(model, scale=0.1, bias=None)
    with pytest.raises(SpecError, match="the classifier of VisionTransformer has no bias"):
        start_head(model, scale=None, bias=1.0)


def trained(spec: TrialSpec, folder, *, after: int | None = None):
    left = iter(range(10**6))
    folder.mkdir(exist_ok=True)
    return run_trial(
        spec, report=lambda point: False, resources=Resources(), device="cpu", directory=folder, checkpoints=KEEP,
        is_preempted=lambda: after is not None and next(left) >= after,
    )  # fmt: skip


def spec_of(**train) -> TrialSpec:
    return TrialSpec(arch=TINY, task=SHAPES, train=TrainSpec(**{"epochs": 2, "batch_size": 4, **train}))


def test_a_training_begins_with_that_head(tmp_path):
    """A rate of almost nothing leaves the weights where they began."""
    still = {"opt": "sgd", "lr": 1e-12, "sched": "constant", "weight_decay": 0.0, "epochs": 1}
    trained(spec_of(**still, head_init_scale=0.5), tmp_path)
    plain = build_model(
        TINY, img_size=8, in_chans=3, num_classes=describe_dataset(SHAPES, Resources()).num_classes, seed=0
    )
    found = load_file(tmp_path / "weights.safetensors")
    torch.testing.assert_close(found["head.weight"], 0.5 * plain.head.weight.detach())
    torch.testing.assert_close(found["cls_token"], plain.cls_token.detach())


def test_a_trial_with_splits_continues_bit_for_bit(tmp_path):
    spec = spec_of(**SPLITS)
    whole = trained(spec, tmp_path / "whole")
    left = trained(spec, tmp_path / "parts", after=6)  # in the second epoch of four updates
    assert (left.status, left.epochs) == ("preempted", 1)
    ended = trained(spec, tmp_path / "parts")
    assert ended.curve == whole.curve
    one, other = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({"lr_base": 0.1, "opt": "sgd", "batch_size": 512}, 0.2),
        ({"lr_base": 0.1, "opt": "sgd", "batch_size": 512, "grad_accum_steps": 2}, 0.4),
        ({"lr_base": 0.1, "opt": "sgd", "batch_size": 1024, "lr_base_scale": "sqrt"}, 0.2),
        ({"lr_base": 1e-3, "opt": "adamw", "batch_size": 64}, 5e-4),
        ({"lr_base": 1e-3, "opt": "lamb", "batch_size": 1024, "lr_base_size": 64}, 4e-3),
        ({"lr_base": 1e-3, "opt": "adamw", "batch_size": 64, "lr_base_scale": "linear"}, 2.5e-4),
    ],
)
def test_the_rate_grows_with_the_batch_as_timms_train_py_says(train, expected):
    """By hand: lr_base * ratio, or its root for optimizers with `ada` or `lamb` in their names."""
    spec = TrainSpec(sched="constant", **train)
    assert learning_rates(spec, [0, 5], updates_per_epoch=3) == [pytest.approx(expected)] * 2
    assert peak_learning_rate(spec, updates_per_epoch=3) == pytest.approx(expected)
    assert optimizer_options(spec)["lr"] == pytest.approx(expected)


def test_further_arguments_reach_the_optimizer():
    """The same weights as timm's own call gives."""
    given = {"nesterov": False, "dampening": 0.5}
    steps = []
    for make in (
        lambda model: create_optimizer_v2(model, **optimizer_options(TrainSpec(opt="sgd", lr=0.1, opt_kwargs=given))),
        lambda model: create_optimizer_v2(model, "sgd", lr=0.1, weight_decay=0.05, momentum=0.9, **given),
    ):
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        optimizer = make(model)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(2, 3)).square().sum().backward()
            optimizer.step()
        assert optimizer.defaults["dampening"] == 0.5
        steps.append(model.weight.detach())
    assert torch.equal(*steps)


SWEEP = """
name: recipe
baseline:
  arch: {depth: 1, embed_dim: 16, num_heads: 2, patch_size: 4}
  train: {TRAIN}
space: SPACE
design: one_factor
"""


def planned(space: dict, **train):
    text = SWEEP.replace("TRAIN", json.dumps({"epochs": 1, **train})[1:-1]).replace("SPACE", json.dumps(space))
    return make_plan(load_sweep_text(text))


def test_arguments_of_an_optimizer_are_a_space_and_are_checked_before_anything_runs():
    plan = planned({"train.opt_kwargs.nesterov": [True, False]}, opt="sgd")
    # True is what timm's `sgd` has without it.
    assert [dict(each.setting.train.opt_kwargs) for each in plan.variants][1:] == [{"nesterov": False}]
    for name, value, message, hint in (
        ("nestrov", True, "'sgd' has no argument 'nestrov'", "Did you mean 'nesterov'?"),
        ("eps", 1e-6, "'eps' is an option of train", "write train.opt_eps"),
        ("fused", True, "'fused' chooses kernels and not the training", "chooses them by the device"),
    ):
        with pytest.raises(SpecError) as caught:
            planned({f"train.opt_kwargs.{name}": [value]}, opt="sgd")
        (problem,) = caught.value.problems
        assert problem.message == message
        assert hint in problem.hint


def test_a_switch_of_an_optimiser_takes_true_and_false_alone():
    """`off` is text in YAML 1.2, and any text is true to the optimiser."""
    with pytest.raises(SpecError, match="'nesterov' of 'sgd' is on or off, but got 'off'"):
        planned({"train.opt_kwargs.nesterov": ["off"]}, opt="sgd")


def test_one_rate_under_two_names_is_one_experiment():
    """The rate is 4e-3 * 64 / 256 = 1e-3, that of the baseline."""
    plan = planned({"train.lr_base": [4e-3, 8e-3]}, opt="sgd", batch_size=64)
    assert [each.variant.name for each in plan.dropped] == ["lr_base=0.004"]
