"""The task `classification`, and the registry of tasks."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from timm.loss import JsdCrossEntropy
from torch import nn

import runners.tasks
from runners.data import DataInfo
from runners.data.random_streams import generator
from runners.tasks import TASKS
from search_space.schema.trial import ClassificationSpec, TrainSpec

CPU = torch.device("cpu")


class _Echo(nn.Module):
    """Model that returns the images as logits, scaled by its one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * images.flatten(1)


def _task(num_classes: int = 6, **train):
    info = DataInfo("toy", (1, num_classes), 1, num_classes, 8, 0, 8, (0.0,), (1.0,))
    return TASKS["classification"](_Echo(), info=info, spec=ClassificationSpec(), train=TrainSpec(**train), device=CPU)


def _batch(logits: list[list[float]], labels: list[int]):
    return torch.tensor(logits).view(len(logits), 1, 1, -1), torch.tensor(labels)


def _cross_entropy(logits: list[float], target: list[float]) -> float:
    values = torch.tensor(logits, dtype=torch.float64)
    return -(torch.tensor(target, dtype=torch.float64) * (values - values.logsumexp(0))).sum().item()


def test_every_task_file_is_in_the_table():
    files = {path.stem for path in Path(runners.tasks.__file__).parent.glob("*.py")}
    assert files - {"__init__", "task", "trained_network", "image_network", "image_task"} == {
        task.__module__.rpartition(".")[2] for task in TASKS.values()
    }


def test_metrics_weigh_every_image_alike_over_batches_of_different_size():
    right, second, last = [5, 4, 3, 2, 1, 0.0], [4, 5, 3, 2, 1, 0.0], [0, 5, 4, 3, 2, 1.0]
    batches = [_batch([right, right, second], [0, 0, 0]), _batch([last], [0])]
    found = _task().metrics(batches, nullcontext())
    one_hot = [1.0, 0, 0, 0, 0, 0]
    assert found["top1"] == 50.0
    assert found["top5"] == 75.0  # `last` has the right class in sixth place
    expected = sum(_cross_entropy(row, one_hot) for row in (right, right, second, last)) / 4
    assert found["loss"] == pytest.approx(expected, rel=1e-6)


def test_a_diverged_model_has_no_metric_of_its_probabilities():
    found = _task().metrics([_batch([[float("nan")] * 6, [1, 0, 0, 0, 0, 0.0]], [0, 0])], nullcontext())
    assert set(found) == {"top1", "top5", "loss"}
    assert found["loss"] != found["loss"]


def test_an_undefined_metric_is_left_out_and_noted():
    """The last split that is measured counts: the test split comes last."""
    task = _task()
    one_class = [_batch([[1, 0, 0, 0, 0, 0.0], [0, 1, 0, 0, 0, 0.0]], [0, 0])]
    assert "auroc" not in task.metrics(one_class, nullcontext())
    assert task.remarks() == ["auroc undefined: all test images are of one class"]
    two_classes = [_batch([[1, 0, 0, 0, 0, 0.0], [0, 1, 0, 0, 0, 0.0]], [0, 1])]
    assert task.metrics(two_classes, nullcontext())["auroc"] == 100
    assert task.remarks() == []


def test_which_images_are_right_comes_in_their_order():
    right, second, last = [5, 4, 3, 2, 1, 0.0], [4, 5, 3, 2, 1, 0.0], [0, 5, 4, 3, 2, 1.0]
    images = [right, second, right, last, right]
    correct: list[torch.Tensor] = []
    for batches in ([_batch(images, [0] * 5)], [_batch(images[:3], [0] * 3), _batch(images[3:], [0] * 2)]):
        correct = []
        found = _task().metrics(batches, nullcontext(), correct=correct)
        assert torch.cat(correct).tolist() == [True, False, True, False, True]
        assert [len(part) for part in correct] == [len(labels) for _, labels in batches]
        assert found == _task().metrics(batches, nullcontext())
    assert correct[0].dtype == torch.bool


@pytest.mark.parametrize("num_classes", [3, 6, 40])
def test_among_equal_logits_the_one_that_top1_counts_is_right(num_classes):
    """Rounded to few values, as in half precision, most images have several largest logits."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randint(0, 3, (500, num_classes), generator=random).float()
    labels = torch.randint(0, num_classes, (500,), generator=random)
    correct: list[torch.Tensor] = []
    found = _task(num_classes).metrics([(logits.view(500, 1, 1, -1), labels)], nullcontext(), correct=correct)
    assert 100 * correct[0].sum().item() / 500 == found["top1"]
    is_largest = logits.gather(1, labels[:, None])[:, 0] == logits.max(1).values
    assert not (correct[0] & ~is_largest).any()


def test_top5_is_left_out_for_five_classes():
    found = _task(5).metrics([_batch([[1, 0, 0, 0, 0.0]], [0])], nullcontext())
    assert set(found) == {"top1", "loss", "balanced_accuracy", "macro_f1", "ece"}


def test_metrics_leave_the_model_in_training_mode():
    task = _task()
    task.model.train()
    task.metrics([_batch([[1, 0, 0, 0, 0, 0.0]], [0])], nullcontext())
    assert task.model.training


def test_training_loss_is_smoothed_and_the_metric_is_not():
    logits = [2.0, 0, 0, 0, 0, 0]
    task = _task(smoothing=0.3)
    loss = task.loss(_batch([logits], [0]), generator(0, "test")).item()
    assert loss == pytest.approx(_cross_entropy(logits, [0.75, 0.05, 0.05, 0.05, 0.05, 0.05]), rel=1e-6)
    found = task.metrics([_batch([logits], [0])], nullcontext())
    assert found["loss"] == pytest.approx(_cross_entropy(logits, [1.0, 0, 0, 0, 0, 0]), rel=1e-6)


def test_mixup_mixes_images_and_smoothed_labels_in_the_same_proportion():
    """With the identity as model the logits show the mixed image, and the loss its mixing proportion."""
    first, second = [1.0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1.0]
    seen = []
    task = _task(mixup=1.0, smoothing=0.12)
    task.model.register_forward_hook(lambda _module, _args, output: seen.append(output.detach().clone()))
    loss = task.loss(_batch([first, second], [0, 5]), generator(0, "test")).item()
    proportion = seen[0][0, 0].item()
    assert 0 < proportion < 1
    torch.testing.assert_close(seen[0][0], proportion * torch.tensor(first) + (1 - proportion) * torch.tensor(second))

    def target(share: float) -> list[float]:
        return [0.88 * share + 0.02, 0.02, 0.02, 0.02, 0.02, 0.88 * (1 - share) + 0.02]

    rows = seen[0].tolist()
    expected = (_cross_entropy(rows[0], target(proportion)) + _cross_entropy(rows[1], target(1 - proportion))) / 2
    assert loss == pytest.approx(expected, rel=1e-5)


def test_mixup_draws_from_its_stream_only():
    images = torch.rand(4, 1, 1, 6, generator=torch.Generator().manual_seed(0))
    losses = []
    for seed in (0, 0, 1):
        torch.rand(3)
        batch = images.clone(), torch.tensor([0, 1, 2, 3])
        losses.append(_task(mixup=0.8, cutmix=1.0).loss(batch, generator(seed, "mixing")).item())
    assert losses[0] == losses[1] != losses[2]


def test_the_average_of_the_weights_is_evaluated():
    """timm's EMA: the first update copies the weights, then average = decay * average + (1 - decay) * weights."""
    task = _task(ema_decay=0.9)
    expected = None
    for num_updates, value in enumerate((2.0, 4.0, 8.0), start=1):
        with torch.no_grad():
            task.model.scale.fill_(value)
        task.after_update(num_updates)
        expected = value if expected is None else 0.9 * expected + 0.1 * value
    logits = [1.0, 0, 0, 0, 0, 0]
    found = task.metrics([_batch([logits], [0])], nullcontext())
    assert found["loss"] == pytest.approx(_cross_entropy([expected * value for value in logits], logits), rel=1e-5)
    assert task.model.scale.item() == 8.0


def test_without_averaging_the_trained_model_is_evaluated():
    task = _task()
    assert task.evaluated_model is task.model


def _binary(logit: float, target: float) -> float:
    return target * math.log1p(math.exp(-logit)) + (1 - target) * math.log1p(math.exp(logit))


@pytest.mark.parametrize(
    ("train", "targets", "weight", "scale"),
    [
        ({}, [1, 0, 0, 0, 0, 0], 1, 1 / 6),
        ({"bce_sum": True}, [1, 0, 0, 0, 0, 0], 1, 1),
        ({"smoothing": 0.3}, [0.75, 0.05, 0.05, 0.05, 0.05, 0.05], 1, 1 / 6),
        ({"smoothing": 0.3, "bce_target_thresh": 0.2}, [1, 0, 0, 0, 0, 0], 1, 1 / 6),
        ({"bce_pos_weight": 2.5}, [1, 0, 0, 0, 0, 0], 2.5, 1 / 6),
    ],
)
def test_binary_cross_entropy_of_the_classes(train, targets, weight, scale):
    """In closed form, class by class; the metric `loss` stays the cross-entropy of the softmax."""
    logits = [2.0, -1.0, 0.5, 0, 0, 3.0]
    task = _task(bce_loss=True, **train)
    loss = task.loss(_batch([logits], [0]), generator(0, "test")).item()
    each = [_binary(a, b) * (weight if b == 1 else 1) for a, b in zip(logits, targets, strict=True)]
    assert loss == pytest.approx(scale * sum(each), rel=1e-6)
    found = task.metrics([_batch([logits], [0])], nullcontext())
    assert found["loss"] == pytest.approx(_cross_entropy(logits, [1.0, 0, 0, 0, 0, 0]), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_splits_is_timms(smoothing):
    """Two images in three splits: with `jsd_loss` timm's divergence, else the cross-entropy of all six."""
    splits = [[2.0, 0, 0, 0, 0, 0], [0, 1.0, 0, 0, 0, 0], [1.0, 0, 3.0, 0, 0, 0], [0, 0, 0, 0, 1.0, 0]]
    splits += [[0, 0, 0, 0, 0, 5.0], [0, 4.0, 0, 0, 0, 0]]
    images, _ = _batch(splits, [0] * 6)
    labels, options = torch.tensor([0, 1]), {"aug_splits": 3, "aa": "augmix-m3", "smoothing": smoothing}
    found = _task(jsd_loss=True, **options).loss((images, labels), generator(0, "test"))
    expected = JsdCrossEntropy(num_splits=3, smoothing=smoothing)(torch.tensor(splits), torch.tensor([0, 1] * 3))
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    plain = _task(**options).loss((images, labels), generator(0, "test")).item()
    each = [_cross_entropy(row, [(label == at) * (1 - smoothing) + smoothing / 6 for at in range(6)])
            for row, label in zip(splits, [0, 1] * 3, strict=True)]  # fmt: skip
    assert plain == pytest.approx(sum(each) / 6, rel=1e-5)


def test_nothing_is_mixed_after_the_last_mixed_epoch():
    """`mixup_off_epoch: 2`: epochs 1 and 2 are mixed. Afterwards the loss is the smoothed one of the images."""
    task, plain = _task(mixup=1.0, smoothing=0.12, mixup_off_epoch=2), _task(smoothing=0.12)
    batch = _batch([[1.0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1.0]], [0, 5])
    expected = plain.loss(batch, generator(0, "test")).item()
    for finished, is_mixed in ((0, True), (1, True), (2, False), (3, False)):
        task.begin_epoch(finished)
        loss = task.loss((batch[0].clone(), batch[1]), generator(0, "test")).item()
        assert (loss != pytest.approx(expected, rel=1e-6)) is is_mixed


def test_boxes_of_cutmix_are_within_their_range():
    """Images of 10 x 10 pixels of their own number; a box of 2 to 4 pixels a side holds the other image's."""
    seen = []
    info = DataInfo("toy", (10, 10), 1, 100, 8, 0, 8, (0.0,), (1.0,))
    train = TrainSpec(cutmix_minmax=(0.2, 0.5), mixup_mode="pair")
    task = TASKS["classification"](_Echo(), info=info, spec=ClassificationSpec(), train=train, device=CPU)
    task.model.register_forward_hook(lambda _module, _args, output: seen.append(output.detach()))
    for seed in range(10):
        images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 10, 10).clone()
        task.loss((images, torch.tensor([0, 1, 2, 3])), generator(seed, "test"))
    shares = {int((images[0] == 3).sum()) for images in seen}
    assert shares <= {a * b for a in (2, 3, 4) for b in (2, 3, 4)}
    assert len(shares) > 2


def test_the_average_follows_closely_while_it_warms_up():
    """timm's `use_warmup`: the decay at step n is 1 - n ** (-2 / 3), n counted from the second update as 1 + 1."""
    task = _task(ema_decay=0.9, model_ema_warmup=True)
    expected = None
    for num_updates, value in enumerate((2.0, 4.0, 8.0, 16.0), start=1):
        with torch.no_grad():
            task.model.scale.fill_(value)
        task.after_update(num_updates)
        decay = min(0.9, 1 - num_updates ** (-2 / 3))
        expected = value if expected is None else decay * expected + (1 - decay) * value
    assert task.evaluated_model.module.scale.item() == pytest.approx(expected, rel=1e-6)
