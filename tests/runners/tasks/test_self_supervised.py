"""Self-supervision: parity of whole trainings with DINO's loop, what is measured, and the collapses."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from runners.data import Data, DataInfo, describe_dataset, load_data
from runners.data.views.banks import BANK, MEASURED
from runners.data.views.crops import Crops
from runners.tasks import TASKS
from runners.training.evaluation import Evaluation
from runners.training.loop import train_model
from search_space.schema.resources import Resources
from search_space.schema.trial import Setting

CPU = torch.device("cpu")


def official_name(name: str) -> str:
    return name.replace("backbone.model.", "backbone.")


class Recorded:
    """Batches of a golden case (`TrainBatches`)."""

    def __init__(self, golden, config: dict[str, Any]) -> None:
        self._tensors, self._config = golden.tensors, config

    def __len__(self) -> int:
        return self._config["updates_per_epoch"]

    def epoch(self, number: int):
        for update in range((number - 1) * len(self), number * len(self)):
            views = [self._tensors[f"step.{update}.crop.{view}"] for view in range(2 + self._config["num_local"])]
            local = torch.stack(views[2:], dim=1) if views[2:] else torch.zeros(len(views[0]), 0, 3, 1, 1)
            yield Crops(torch.stack(views[:2], dim=1), local), torch.zeros(len(views[0]))


def setting_of(config: dict[str, Any]) -> Setting:
    sizes, head, temperature = config["backbone"], config["head"], config["teacher_temp"]
    clip = config["clip_grad_per_parameter"]
    return Setting.model_validate(
        {
            "arch": {
                name: sizes[name] for name in ("patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "img_size")
            },
            "task": {
                "name": "self_supervised",
                "prototypes": head["out_dim"],
                "head_layers": head["nlayers"],
                "head_hidden_dim": head["hidden_dim"],
                "head_dim": head["bottleneck_dim"],
                "head_batch_norm": head["use_bn"],
                "norm_last_layer": head["norm_last_layer"],
                "freeze_last_layer": config["freeze_last_layer"],
                "teacher_temp": (temperature["warmup"], temperature["final"]),
                "teacher_temp_epochs": temperature["warmup_epochs"],
                "momentum": (config["momentum_teacher"], 1.0),
                "local_crops": config["num_local"],
                "local_size": config["local_size"],
                "evaluate": ("knn",),
            },
            "train": {
                "epochs": config["epochs"],
                "batch_size": config["batch"],
                "sched": "dino",
                **{
                    name: config[name] for name in ("lr", "min_lr", "warmup_epochs", "weight_decay", "weight_decay_end")
                },
                "weight_decay_end": config["weight_decay_end"],
                "warmup_lr": 0.0,
                **({"clip_grad": clip, "clip_mode": "parameter"} if clip else {}),
            },
        }
    )


def measured_images(size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    return [(images, torch.tensor([[0, BANK, 0], [1, BANK, 1], [0, MEASURED, 0], [1, MEASURED, 1]]))]


@pytest.mark.golden("dino_training")
def test_trainings_equal_the_released_loop(golden):
    """Losses, centres, weights of student and teacher: schedules, clipping, decay, frozen layers and EMA in one."""
    config, tolerance = golden.meta["config"], golden.meta["tolerance"]
    setting = setting_of(config)
    side, updates = config["backbone"]["img_size"], config["updates_per_epoch"]
    info = DataInfo("golden", (side, side), 3, 2, config["batch"] * updates, 0, 2, (0.5,) * 3, (0.25,) * 3)
    model = TASKS["self_supervised"].build(setting, info, seed=0)
    initial = golden.group("initial.")
    model.load_state_dict({name: initial[official_name(name)] for name in model.state_dict()}, strict=True)
    task = TASKS["self_supervised"](model, info=info, spec=setting.task, train=setting.train, device=CPU)
    centers = []

    def keep_center(entries):
        centers.append(task.state_dict()["centers"][0].clone())
        return False

    data = Data(info, Recorded(golden, config), [], None, measured_images(side))
    measured = Evaluation("golden", task, data.measured[0], setting.train, num_test=2)
    train_model(task, data, setting.train, seed=0, device=CPU, evaluations=[measured], report=keep_center)
    losses = golden.tensors["losses"].view(config["epochs"], updates).mean(dim=1).tolist()
    assert [point["train_loss"] for point in measured.curve] == pytest.approx(losses, rel=0, abs=tolerance["losses"])
    for epoch, center in enumerate(centers):
        want = golden.tensors[f"step.{(epoch + 1) * updates - 1}.center"]
        torch.testing.assert_close(center, want, rtol=0, atol=tolerance["center"])
    for part, network in (("student", task.model), ("teacher", task.teacher)):
        for name, value in network.state_dict().items():
            key = f"{part}.{official_name(name)}"
            atol = tolerance["weights ending in qkv.bias" if key.endswith("qkv.bias") else "weights"]
            torch.testing.assert_close(
                value, golden.tensors[key], rtol=0, atol=atol, msg=lambda text, key=key: f"{key}: {text}"
            )


SMALL = {
    "arch": {"depth": 1, "embed_dim": 16, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2.0, "img_size": 8},
    "task": {
        "name": "self_supervised",
        **{"prototypes": 8, "head_hidden_dim": 16, "head_dim": 4, "local_crops": 0, "linear_epochs": 2},
    },
}


def small_task(**options: Any):
    setting = Setting.model_validate({**SMALL, "task": {**SMALL["task"], **options}})
    info = DataInfo("made", (8, 8), 3, 2, 8, 0, 2, (0.5,) * 3, (0.25,) * 3)
    model = TASKS["self_supervised"].build(setting, info, seed=0)
    return TASKS["self_supervised"](model, info=info, spec=setting.task, train=setting.train, device=CPU)


def test_the_teacher_is_measured_beside_the_untrained_network_and_the_pixels():
    task = small_task()
    found = task.metrics(measured_images(8), nullcontext())
    assert set(found) == set(task._spec.metrics)
    assert found["knn_top1"] == found["knn_top1_untrained"]
    assert found["linear_top1"] == found["linear_top1_untrained"]
    with torch.no_grad():
        for weight in task.teacher.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))
    again = task.metrics(measured_images(8), nullcontext())
    references = [name for name in found if name.endswith(("_untrained", "_pixels"))]
    assert len(references) == 4
    assert {name: again[name] for name in references} == {name: found[name] for name in references}
    assert again["teacher_entropy"] != found["teacher_entropy"]


@pytest.mark.default_run("2")
@pytest.mark.parametrize("number", [0, 2])
def test_the_untrained_network_has_the_statistics_of_training_images(number):
    """Of `recalibrate_bn` batches, and the weights of the initialisation.

    Its first norm sees what the first convolution makes of the images: mean and variance are computed from these here.
    """
    setting = Setting.model_validate(
        {
            "arch": {
                "model": "groupmixformer_tiny_224",
                "img_size": 16,
                "options": {"embed_dims": [40, 40], "depths": [1, 1], "mlp_ratios": [1, 1]},
            },
            "task": {
                **SMALL["task"],
                "dataset": {"name": "builtin/grains", "img_size": 16, "num_train": 17, "num_test": 8},
            },
            "train": {"epochs": 1, "batch_size": 8, "lr": 1e-2, "recalibrate_bn": number},
        }
    )
    info = describe_dataset(setting.task, Resources())
    model = TASKS["self_supervised"].build(setting, info, seed=0)
    initial = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    data = load_data(setting.task, setting.train, Resources(), CPU, img_size=(16, 16), seed=0, info=info)
    task = TASKS["self_supervised"](model, info=info, spec=setting.task, train=setting.train, device=CPU)
    measured = Evaluation("grains", task, data.measured[0], setting.train, num_test=8)
    train_model(task, data, setting.train, seed=0, device=CPU, evaluations=[measured], report=lambda entries: False)

    (untrained,) = task.references
    weights = dict(untrained.named_parameters())
    assert weights
    assert all(torch.equal(value, initial[name]) for name, value in weights.items())
    assert not torch.equal(next(task.teacher.backbone.parameters()), next(untrained.parameters()))
    if not number:
        assert all(torch.equal(value, initial[name]) for name, value in untrained.state_dict().items())
        return
    batches = [images for images, _ in data.calibration]
    assert [len(images) for images in batches] == [8, 8]
    stem = untrained.model.conv_stem
    with torch.no_grad():
        seen = [stem.proj1(images).transpose(0, 1).flatten(1) for images in batches]
    torch.testing.assert_close(stem.norm1.running_mean, torch.stack([each.mean(1) for each in seen]).mean(0))
    torch.testing.assert_close(stem.norm1.running_var, torch.stack([each.var(1) for each in seen]).mean(0))


def test_pixels_that_differ_by_class_are_separated_by_their_neighbours():
    task = small_task(evaluate=["knn"])
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.1
    images[::2, 0] += 1
    images[1::2, 1] += 1
    targets = torch.tensor([[number % 2, BANK if number < 4 else MEASURED, number % 4] for number in range(8)])
    found = task.metrics([(images, targets)], nullcontext())
    assert found["knn_top1_pixels"] == 100
    assert "linear_top1" not in found


@pytest.mark.parametrize(
    ("scale", "entropies", "word"),
    [(0.0, (math.log(8), math.log(8)), "uniform"), (1e4, (0.0, 0.0), "same prototype")],
)
def test_a_collapse_is_named(scale, entropies, word):
    """Of outputs that are the same for all images: all equal, or one far above the others."""
    task = small_task()
    with torch.no_grad():
        task.teacher.head.last_layer.weight_v.copy_(torch.ones(8, 4))
        task.teacher.head.last_layer.weight_g.fill_(0.0)
        task._centers[0, 0, 0] = -scale
    found = task.metrics(measured_images(8), nullcontext())
    assert (found["teacher_entropy"], found["target_entropy"]) == pytest.approx(entropies, abs=1e-6)
    (remark,) = task.remarks()
    assert word in remark


def test_a_network_that_separates_images_has_not_collapsed():
    task = small_task(teacher_temp=[0.01, 0.01], prototypes=64)
    task.metrics(measured_images(8), nullcontext())
    assert task.remarks() == []


def after_updates(task, number: int, *, first: int = 1) -> list[float]:
    """A weight of the teacher after each update, by which the student's weights become the update's number."""
    found = []
    for update in range(first, first + number):
        with torch.no_grad():
            for weight in task.model.parameters():
                weight.fill_(update)
        task.after_update(update)
        (value,) = {weight.mean().item() for weight in task.teacher.parameters()}
        found.append(value)
    return found


def teacher_of_rule(rule: str, momentum=(0.996, 1.0)):
    """Two updates an epoch: 8 images in batches of 4. All weights are 0 at first."""
    spec = {**SMALL["task"], "teacher_update": rule, "momentum": momentum}
    setting = Setting.model_validate({**SMALL, "task": spec, "train": {"batch_size": 4, "epochs": 4}})
    info = DataInfo("made", (8, 8), 3, 2, 8, 0, 2, (0.5,) * 3, (0.25,) * 3)
    model = TASKS["self_supervised"].build(setting, info, seed=0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    return TASKS["self_supervised"](model, info=info, spec=setting.task, train=setting.train, device=CPU)


@pytest.mark.parametrize(
    ("rule", "momentum", "weights"),
    [
        ("momentum", (0.0, 0.0), [1, 2, 3, 4, 5]),  # a copy of the student
        ("previous_iteration", (0.996, 1.0), [0, 1, 2, 3, 4]),
        ("previous_epoch", (0.996, 1.0), [0, 2, 2, 4, 4]),
        ("momentum", (1.0, 1.0), [0, 0, 0, 0, 0]),
    ],
)
def test_teachers_of_figure_6(rule, momentum, weights):
    """The teacher of an update is the student as it is, one update before, or at the end of the previous epoch."""
    assert after_updates(teacher_of_rule(rule, momentum), 5) == weights


def test_a_teacher_one_update_behind_is_so_after_a_resumption():
    task, resumed = teacher_of_rule("previous_iteration"), teacher_of_rule("previous_iteration")
    after_updates(task, 3)
    resumed.load_state_dict(task.state_dict())
    assert after_updates(resumed, 2, first=4) == [3, 4]


VIEWS = Crops(torch.randn(4, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(4, 0, 3, 1, 1))


def loss_of(**options: Any) -> tuple[Any, float]:
    task = small_task(**options)
    return task, task.loss((VIEWS, torch.zeros(4)), torch.Generator()).item()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"loss": "mse"}, lambda t, s: ((unit(t) - unit(s)) ** 2).sum(1).mean()),
        ({"teacher_operation": "batch_softmax"}, lambda t, s: crossed(row_shares((t / 0.04).softmax(0)), s)),
        ({"teacher_temp": [0.0, 0.0]}, lambda t, s: crossed(t.eq(t.amax(1, keepdim=True)).double(), s)),
    ],
)
def test_options_of_the_objective_reach_the_loss(options, expected):
    """Of two global views of 4 images, before any update: student and teacher have the same outputs."""
    task, loss = loss_of(**options)
    with torch.no_grad():
        logits = task.model(VIEWS.views).logits.double()
    swapped = logits.roll(4, dims=0)
    want = expected(logits, swapped)
    assert loss == pytest.approx(want.item(), rel=1e-4)


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


def row_shares(x):
    return x / x.sum(dim=1, keepdim=True)


def crossed(targets, student):
    return -(targets * (student / 0.1).log_softmax(1)).sum(1).mean()


def test_regions_have_a_metric_of_their_own():
    """Half the loss of views, and half of what the regions' squared distance is, which is 2 - 2 cos."""
    task, loss = loss_of(method="esvit", region_loss="mse")
    with torch.no_grad():
        output = task.model(VIEWS.views)
    _, of_views = loss_of()
    features = output.region_features.unflatten(0, (2, 4, -1)).double()
    logits = output.region_logits.unflatten(0, (2, 4, -1)).double()
    terms = []
    for view in range(2):
        for image in range(4):
            for feature, row in zip(features[view, image], logits[view, image], strict=True):
                best = torch.cosine_similarity(feature[None], features[1 - view, image]).argmax()
                terms.append(2 - 2 * torch.cosine_similarity(row, logits[1 - view, image, best], dim=0))
    assert loss == pytest.approx(0.5 * of_views + 0.5 * torch.stack(terms).mean().item(), rel=1e-4)


def test_squared_errors_have_no_entropies():
    task = small_task(loss="mse")
    found = task.metrics(measured_images(8), nullcontext())
    assert set(found) == set(task._spec.measured)
    assert not any("entropy" in name for name in found)


@pytest.mark.parametrize("operation", ["batch_softmax", "sinkhorn"])
def test_a_uniform_collapse_is_named_whatever_the_operation(operation):
    task = small_task(teacher_operation=operation)
    with torch.no_grad():
        task.teacher.head.last_layer.weight_g.fill_(0.0)
    found = task.metrics(measured_images(8), nullcontext())
    assert found["target_entropy"] == pytest.approx(math.log(8), abs=1e-6)
    assert "uniform" in task.remarks()[0]
