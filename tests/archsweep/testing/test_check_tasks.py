"""`check_task` finds each fault that the contract of tasks names; each class below has one."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
import torch
from pydantic import Field
from torch.nn import functional

from archsweep.testing import check_task
from runners.tasks.image_task import ImageTask
from search_space.schema.tasks.image_task import ImageTaskSpec


class ValueSpec(ImageTaskSpec):
    metrics: ClassVar[tuple[str, ...]] = ("mse",)

    name: Literal["checked_value"] = "checked_value"  # pyright: ignore[reportIncompatibleVariableOverride]
    scale: float = Field(default=9.0, gt=0)


class Sound(ImageTask):
    """The label as a number."""

    spec = ValueSpec

    @classmethod
    def num_outputs(cls, info):
        return 1

    def loss_of(self, outputs, targets):
        return functional.mse_loss(outputs[:, 0], targets.float() / self.options.scale)

    def metrics_of(self, outputs, targets):
        return {"mse": functional.mse_loss(outputs[:, 0] * self.options.scale, targets.float()).item()}


class NotDifferentiable(Sound):
    def loss_of(self, outputs, targets):
        return (outputs.argmax(dim=1) != targets).float().mean()


class OfNumbers(Sound):
    def loss_of(self, outputs, targets):
        return super().loss_of(outputs, targets).item()


class NotReduced(Sound):
    def loss_of(self, outputs, targets):
        return (outputs[:, 0] - targets) ** 2


class NotFinite(Sound):
    def loss_of(self, outputs, targets):
        return (outputs[:, 0] - outputs[:, 0]).sum() / 0


class SignTurned(Sound):
    def loss_of(self, outputs, targets):
        return -super().loss_of(outputs, targets)


class OfTargetsOnly(Sound):
    def loss_of(self, outputs, targets):
        return (0 * outputs).sum() + targets.float().var()


class WrongShape(Sound):
    def loss_of(self, outputs, targets):
        return functional.cross_entropy(outputs, targets)  # one output, several classes


class InfiniteGradient(Sound):
    def loss_of(self, outputs, targets):
        return (outputs[:, 0] - outputs[:, 0].detach()).abs().sqrt().mean()


class TensorMetric(Sound):
    def metrics_of(self, outputs, targets):
        return {"mse": functional.mse_loss(outputs[:, 0], targets.float())}


class NanMetric(Sound):
    def metrics_of(self, outputs, targets):
        return {"mse": float("nan")}


class OtherMetric(Sound):
    def metrics_of(self, outputs, targets):
        return {**super().metrics_of(outputs, targets), "mae": 1.0}


class NoMetric(Sound):
    def metrics_of(self, outputs, targets):
        return {}


class FirstImages(Sound):
    def metrics_of(self, outputs, targets):
        return super().metrics_of(outputs[:4], targets[:4])


class DrawsInMetrics(Sound):
    def metrics_of(self, outputs, targets):
        torch.rand(1)
        return super().metrics_of(outputs, targets)


class StaysInEvaluation(Sound):
    def metrics(self, batches, autocast, *, correct=None):
        found = super().metrics(batches, autocast, correct=correct)
        self.model.eval()
        return found


class ChangesInMetrics(Sound):
    def metrics_of(self, outputs, targets):
        found = super().metrics_of(outputs, targets)
        with torch.no_grad():
            next(iter(self.model.parameters())).fill_(1.0)
        return found


class HasUnusedPart(Sound):
    @classmethod
    def build(cls, setting, info, *, seed=None):
        model = super().build(setting, info, seed=seed)
        model.unused = torch.nn.Linear(2, 2)
        torch.nn.init.zeros_(model.unused.weight)
        torch.nn.init.zeros_(model.unused.bias)
        return model


class ForgetsState(Sound):
    def __init__(self, model, **given):
        super().__init__(model, **given)
        self.offset = 0.0

    def after_update(self, num_updates):
        super().after_update(num_updates)
        self.offset += 0.5

    def metrics_of(self, outputs, targets):
        return {"mse": functional.mse_loss(outputs[:, 0] + self.offset, targets.float()).item()}


class IgnoresScale(Sound):
    def loss_of(self, outputs, targets):
        return functional.mse_loss(outputs[:, 0], targets.float())

    def metrics_of(self, outputs, targets):
        return {"mse": functional.mse_loss(outputs[:, 0], targets.float()).item()}


class OfNoTable(ValueSpec):
    metrics: ClassVar[tuple[str, ...]] = ("mean_error",)


class UnknownMetric(Sound):
    spec = OfNoTable


class NoSpec(ImageTask):
    pass


SCALE = [{"scale": 5.0}]


def test_a_sound_task_passes():
    check_task(Sound, options=SCALE)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (NotDifferentiable, "the loss cannot be differentiated: no argmax, round, item or numpy on the way"),
        (OfNumbers, ", not a tensor"),
        (NotReduced, "the loss has the shape (8,), not that of one number: loss.mean()"),
        (NotFinite, "the loss of the untrained network is nan"),
        (SignTurned, "20 steps on one batch make its mse worse, from "),
        (OfTargetsOnly, "all gradients are zero: the loss does not depend on the outputs"),
        (WrongShape, "the loss of a batch raised IndexError: Target "),
        (InfiniteGradient, "the gradient of "),
        (TensorMetric, "the metric mse is tensor("),
        (NanMetric, "the metric mse is nan, not a finite number of Python: .item()"),
        (OtherMetric, "gives the metrics mae, which spec.metrics does not name"),
        (NoMetric, "gives no mse, the first of spec.metrics"),
        (FirstImages, "depends on the order of the images: {'mse': "),
        (DrawsInMetrics, "metrics draws from torch's generator"),
        (StaysInEvaluation, "metrics leaves the model in evaluation mode: model.train() after it"),
        (ChangesInMetrics, ""),
        (HasUnusedPart, "no gradient reaches unused.weight, unused.bias"),
        (ForgetsState, "with the state of another it measures {'mse': "),
        (UnknownMetric, "spec.metrics has mean_error, which archsweep does not know; its metrics: "),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
def test_a_fault_is_named(made, sentence):
    with pytest.raises(AssertionError) as caught:
        check_task(made, options=SCALE)
    assert str(caught.value).startswith(f"{made.__name__}: ")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("made", "options", "sentence"),
    [
        (IgnoresScale, SCALE, "IgnoresScale(scale=5.0): scale changes neither network, loss nor metrics"),
        (Sound, [], "Sound: give options=[...] with other values than the default for: scale"),
        (
            Sound,
            [{"scale": -1.0}],
            "Sound: its setting is not legal: task.checked_value.scale: Input should be greater",
        ),
        (NoSpec, [], "NoSpec: the task 'checked' has no `spec`; spec = MySpec, a class on "),
        (Sound.build, [], "build: the task 'checked' must be a class with the attribute `spec`"),
    ],
    ids=["ignored", "untried", "illegal", "no spec", "no class"],
)
def test_a_fault_of_options_is_named(made, options, sentence):
    with pytest.raises(AssertionError) as caught:
        check_task(made, options=options)
    assert str(caught.value).startswith(sentence)
