"""Contract of a task (`runners/tasks/task.py`), one function for each condition."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from archsweep.testing.member import as_member, check_tried, expect, faults_text, raised, titled
from runners.data import Data, DataInfo, describe_dataset, load_data
from runners.data.random_streams import generator
from runners.tasks.task import Task
from search_space.schema.metrics import METRICS
from search_space.schema.resources import Resources
from search_space.schema.tasks.image_task import ImageTaskSpec
from search_space.schema.tasks.task_spec import TaskSpec
from search_space.schema.trial import Setting

__all__ = ["CONDITIONS", "TaskCase", "check_task"]

_CPU = torch.device("cpu")
_SETTING: dict[str, Any] = {
    "arch": {"depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2.0},
    "task": {"dataset": {"name": "builtin/shapes", "img_size": 8, "num_train": 40, "num_test": 20}},
    "train": {"batch_size": 8},
}
_STEPS = 20


@dataclass(frozen=True)
class TaskCase:
    """A task with the sections of a setting."""

    made: type[Task]
    setting: Setting
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def name(self) -> str:
        return titled(self.made, self.options)

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.setting.task.measured

    def info(self) -> DataInfo:
        return describe_dataset(self.setting.task, Resources())

    def built(self) -> tuple[Any, Data]:
        """The task on its untrained network, in training mode, and its data."""
        info = self.info()
        setting = self.setting
        with raised(self.name, "building its network"):
            model = self.made.build(setting, info, seed=0)
            size = self.made.input_size(setting, info)
        data = load_data(setting.task, setting.train, Resources(), _CPU, img_size=size, seed=0, info=info)
        with raised(self.name, "making it"):
            task = self.made(model, info=info, spec=setting.task, train=setting.train, device=_CPU)
        task.model.train()
        return task, data

    def loss(self, task: Any, data: Data) -> Tensor:
        """The loss of the first batch, with the same random choices each time."""
        with raised(self.name, "the loss of a batch"), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            return task.loss(next(iter(data.train.epoch(1))), generator(0, "mixing", 1))

    def measured(self, task: Any, batches: Any) -> dict[str, Any]:
        with raised(self.name, "its metrics"):
            return task.metrics(batches, nullcontext())


def check_task(
    made: type[Any], *, options: Sequence[Mapping[str, Any]] = (), setting: Mapping[str, Any] | None = None
) -> None:
    """Check a task: loss, gradients, metrics, cost and state, with its defaults and with each of the sets of options.

    Args:
        options: sets of options of its spec that together give each of its own fields a value that is not its default.
        setting: sections `arch`, `task` and `train` of a small setting. Default: a ViT of two blocks on 8 x 8 images of
            builtin/shapes, which tasks on `ImageTask` can be trained on.

    Raises:
        AssertionError: a condition does not hold; the message names task, options and condition.
    """
    title = titled(made)
    spec: Any = getattr(made, "spec", None)
    name = spec.model_fields["name"].default if isinstance(spec, type) and issubclass(spec, TaskSpec) else "checked"
    with as_member("task", made, name, is_in_settings=True):
        fields = spec.model_fields.items()
        shared = {*TaskSpec.model_fields, *ImageTaskSpec.model_fields}
        own = {key: each.get_default(call_default_factory=True) for key, each in fields if key not in shared}
        if setting is None:
            check_tried(title, own, options)
        plain: tuple[Any, ...] = ()
        for given in ({}, *options):
            case = TaskCase(made, _setting_of(title, name, setting or _SETTING, given), given)
            for condition in CONDITIONS.values():
                condition(case)
            found = _behaviour(case)
            text = f"{' and '.join(given)} changes neither network, loss nor metrics: it is accepted and ignored"
            expect(not given or found != plain, case.name, text)
            plain = plain or found


def _setting_of(title: str, name: str, sections: Mapping[str, Any], options: Mapping[str, Any]) -> Setting:
    written = {**sections, "task": {**sections.get("task", {}), "name": name, **options}}
    try:
        return Setting.model_validate(written)
    except ValidationError as err:
        text = f"its setting is not legal: {faults_text(err)}; give setting= of your own"
        raise AssertionError(f"{title}: {text}") from err


def _behaviour(case: TaskCase) -> tuple[Any, ...]:
    task, data = case.built()
    loss = float(case.loss(task, data).detach())
    return loss, case.measured(task, data.test), [tuple(each.shape) for each in task.model.parameters()]


def _declares_its_metrics(case: TaskCase) -> None:
    unknown = sorted(set(case.metrics) - set(METRICS))
    text = f"spec.metrics has {', '.join(unknown)}, which archsweep does not know; its metrics: {', '.join(METRICS)}"
    expect(not unknown, case.name, text)
    first = case.metrics[0]
    expect(METRICS[first].direction is not None, case.name, f"the first of spec.metrics, {first}, ranks no variants")


def _builds_equal_networks(case: TaskCase) -> None:
    info = case.info()
    with raised(case.name, "building its network"):
        one, same, other = (case.made.build(case.setting, info, seed=seed).state_dict() for seed in (3, 3, 4))
    drawn = [key for key in one if not torch.equal(one[key], same[key])]
    expect(not drawn, case.name, f"equal seeds give other weights: {', '.join(drawn[:5])}; draw from torch's generator")
    expect(any(not torch.equal(one[key], other[key]) for key in one), case.name, "all seeds give the same weights")


def _costs_what_it_has(case: TaskCase) -> None:
    """The example runs on the meta device, and the cost counts the evaluated model."""
    info = case.info()
    with raised(case.name, "its example on the meta device"), torch.device("meta"):
        case.made.build(case.setting, info).train()(*case.made.example(case.setting, info, 2))
    with raised(case.name, "its cost"):
        cost = case.made.cost(case.setting, info)
    task, _ = case.built()
    params = sum(each.numel() for each in task.evaluated_model.parameters()) / 1e6
    expect(math.isclose(cost.params_m, params, rel_tol=1e-9), case.name, f"{params} million parameters, but {cost}")
    expect(cost.gmacs > 0, case.name, f"its cost has no multiply-accumulates: {cost}")


def _has_a_loss(case: TaskCase) -> None:
    task, data = case.built()
    loss: Any = case.loss(task, data)
    expect(isinstance(loss, Tensor), case.name, f"the loss is {loss!r:.60}, not a tensor")
    expect(
        loss.ndim == 0, case.name, f"the loss has the shape {tuple(loss.shape)}, not that of one number: loss.mean()"
    )
    expect(bool(loss.isfinite()), case.name, f"the loss of the untrained network is {loss.item()}")
    hint = "no argmax, round, item or numpy on the way from the outputs"
    expect(loss.requires_grad, case.name, f"the loss cannot be differentiated: {hint}")
    with raised(case.name, "the gradient of the loss"):
        loss.backward()
    silent = [key for key, each in task.model.named_parameters() if each.requires_grad and each.grad is None]
    expect(not silent, case.name, f"no gradient reaches {', '.join(silent[:5])}")
    wrong = [
        key for key, each in task.model.named_parameters() if each.grad is not None and not each.grad.isfinite().all()
    ]
    expect(not wrong, case.name, f"the gradient of {', '.join(wrong[:5])} is NaN or infinite")
    moved = any(each.grad is not None and bool(each.grad.any()) for each in task.model.parameters())
    expect(moved, case.name, "all gradients are zero: the loss does not depend on the outputs")


def _measures(case: TaskCase) -> None:
    """Finite numbers by their declared names, the same twice and in another order, and nothing of the training
    changes."""
    task, data = case.built()
    before = {key: value.clone() for key, value in task.model.state_dict().items()}
    state = torch.get_rng_state()
    found = case.measured(task, data.test)
    expect(isinstance(found, dict), case.name, f"metrics gives {found!r:.60}, not name -> number")
    strange = sorted(set(found) - set(case.metrics))
    expect(not strange, case.name, f"gives the metrics {', '.join(strange)}, which spec.metrics does not name")
    expect(case.metrics[0] in found, case.name, f"gives no {case.metrics[0]}, the first of spec.metrics")
    for key, value in found.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        expect(number, case.name, f"the metric {key} is {value!r:.60}, not a finite number of Python: .item()")
    expect(case.measured(task, data.test) == found, case.name, "measured twice, the metrics differ")
    turned = case.measured(task, list(data.test)[::-1])
    same = turned.keys() == found.keys() and all(math.isclose(turned[key], found[key], rel_tol=1e-4) for key in found)
    expect(same, case.name, f"depends on the order of the images: {found}, and {turned} in another order")
    expect(task.model.training, case.name, "metrics leaves the model in evaluation mode: model.train() after it")
    expect(torch.equal(torch.get_rng_state(), state), case.name, "metrics draws from torch's generator")
    changed = [key for key, value in task.model.state_dict().items() if not torch.equal(before[key], value)]
    expect(not changed, case.name, f"metrics changes {', '.join(changed[:5])}")


def _has_its_encoder_inside(case: TaskCase) -> None:
    task, data = case.built()
    of_model = {id(weight) for weight in task.evaluated_model.parameters()}
    weights = {id(weight) for weight in task.encoder.parameters()}
    expect(bool(weights) and weights <= of_model, case.name, "its encoder is no part of the evaluated model")
    inputs, _ = next(iter(data.test))
    with raised(case.name, "its encoder on a batch"), torch.inference_mode():
        task.encoder(inputs)


def _is_its_state(case: TaskCase) -> None:
    """Another task of the same state measures the same: a trial that is continued loses nothing."""
    task, data = case.built()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    case.loss(task, data).backward()
    optimizer.step()
    task.after_update(1)
    other, _ = case.built()
    with raised(case.name, "loading its state"):
        other.load_state_dict(task.state_dict())
    one, two = case.measured(task, data.test), case.measured(other, data.test)
    expect(one == two, case.name, f"with the state of another it measures {two}, not {one}: something is not in it")


def _learns(case: TaskCase) -> None:
    """Steps on one batch make its loss smaller, and its first metric no worse."""
    task, data = case.built()
    metric, batch = case.metrics[0], [next(iter(data.train.epoch(1)))]
    before = case.measured(task, batch)
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=3e-3)
    losses: list[float] = []
    for _ in range(_STEPS):
        loss = case.loss(task, data)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    text = (
        f"{_STEPS} steps on one batch change its loss from {losses[0]:g} to {losses[-1]:g}: its gradient is not its own"
    )
    expect(losses[-1] < losses[0], case.name, text)
    after = case.measured(task, batch)
    if metric in before and metric in after:
        sign = 1 if METRICS[metric].direction == "maximize" else -1
        text = f"{_STEPS} steps on one batch make its {metric} worse, from {before[metric]:g} to {after[metric]:g}"
        expect(sign * after[metric] >= sign * before[metric], case.name, f"{text}: is the loss to be made larger?")


CONDITIONS: Mapping[str, Callable[[TaskCase], None]] = {
    "declares_its_metrics": _declares_its_metrics,
    "builds_equal_networks": _builds_equal_networks,
    "has_a_loss": _has_a_loss,
    "measures": _measures,
    "costs_what_it_has": _costs_what_it_has,
    "has_its_encoder_inside": _has_its_encoder_inside,
    "is_its_state": _is_its_state,
    "learns": _learns,
}
