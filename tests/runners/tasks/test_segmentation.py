"""The task `segmentation`: loss and metrics against closed forms, options that would have no effect, its evaluation."""

from __future__ import annotations

import math
from contextlib import nullcontext

import pytest
import torch

from runners.data import DataInfo
from runners.data.random_streams import generator
from runners.tasks import TASKS
from search_space.parsing.errors import SpecError
from search_space.schema.trial import Setting

CPU = torch.device("cpu")
VIT = {"depth": 1, "embed_dim": 16, "num_heads": 2, "patch_size": 8}
SMALL = {"name": "segmentation", "head_dim": 8, "pyramid_dim": 8, "aux_dim": 8}
INFO = DataInfo("toy", (32, 32), 3, 3, 8, 0, 8, (0.0,) * 3, (1.0,) * 3)


def setting_of(arch=VIT, **task) -> Setting:
    return Setting.model_validate({"arch": arch, "task": {**SMALL, **task}})


def task_of(info=INFO, arch=VIT, **options):
    setting = setting_of(arch, **options)
    model = TASKS["segmentation"].build(setting, info, seed=0)
    return TASKS["segmentation"](model, info=info, spec=setting.task, train=setting.train, device=CPU)


def answering(task, answer):
    """The task with a network whose head says `answer(images)`, logits (B, K, H, W); the rest of it is real."""
    model = task.evaluated_model
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model.decode_head.register_forward_hook(lambda module, args, output: answer(seen[-1]))
    return task


def by_colour(images):
    """Certain of class k where the first channel is k."""
    labels = images[:, 0].long()
    return 50.0 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2)


def batch_of(labels):
    """Images whose first channel is the label."""
    images = torch.zeros(len(labels), 3, *labels.shape[-2:])
    images[:, 0] = labels
    return images, labels


def test_a_perfect_network_has_100_percent_and_no_loss():
    labels = torch.randint(0, 3, (4, 32, 32))
    found = answering(task_of(), by_colour).metrics([batch_of(labels)], nullcontext())
    assert found == pytest.approx({"miou": 100, "macc": 100, "pixel_acc": 100, "loss": 0}, abs=1e-6)


def test_a_network_that_says_background_has_its_share():
    """90 % background: accuracy 90, of classes 1/3 found, intersection over union 0.9, 0, 0."""
    labels = torch.zeros(1, 32, 32, dtype=torch.long)
    flat = labels.view(-1)
    flat[:51], flat[51:102] = 1, 2  # 102 of 1024
    task = answering(task_of(), lambda images: by_colour(torch.zeros_like(images)))
    found = task.metrics([batch_of(labels)], nullcontext())
    share = 922 / 1024
    assert found["pixel_acc"] == pytest.approx(100 * share)
    assert found["miou"] == pytest.approx(100 * share / 3)
    assert found["macc"] == pytest.approx(100 / 3)
    assert found["loss"] == pytest.approx(50 * (1 - share), rel=1e-4)


def test_a_network_without_preference_has_the_loss_of_a_guess():
    labels = torch.randint(0, 3, (2, 32, 32))
    task = answering(task_of(), lambda images: torch.zeros(len(images), 3, 32, 32))
    assert task.metrics([batch_of(labels)], nullcontext())["loss"] == pytest.approx(math.log(3))


def test_pixels_without_a_class_count_nowhere():
    """The network is wrong on all of them; the mean of the loss is over the others, in batches of unequal shares."""
    labels = torch.zeros(3, 32, 32, dtype=torch.long)
    ignored = labels.clone()
    ignored[0, :30] = 255
    images, _ = batch_of(torch.where(ignored == 255, 1, labels))
    task = answering(task_of(), by_colour)
    found = task.metrics([(images[:1], ignored[:1]), (images[1:], ignored[1:])], nullcontext())
    assert found == pytest.approx({"miou": 100, "macc": 100, "pixel_acc": 100, "loss": 0}, abs=1e-6)


def test_metrics_over_no_labelled_pixel_are_absent():
    labels = torch.full((1, 32, 32), 255)
    images = torch.zeros(1, 3, 32, 32)
    assert task_of().metrics([(images, labels)], nullcontext()) == {}


def test_training_loss_of_unlabelled_images_is_zero_and_not_nan():
    task = task_of()
    loss = task.loss((torch.randn(2, 3, 32, 32), torch.full((2, 32, 32), 255)), generator(0, "mixing", 1))
    assert loss.item() == 0


def test_logits_are_resized_to_labels_and_labels_never():
    """Labels of twice the size: the logits of a checkerboard of 2 x 2 blocks, enlarged bilinearly, are right at the
    pixels of each block that lie next to its middle."""
    coarse = torch.randint(0, 3, (1, 32, 32))
    images, _ = batch_of(coarse)
    labels = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)
    found = answering(task_of(), by_colour).metrics([(images, labels)], nullcontext())
    assert found["pixel_acc"] == 100  # 9/16 of the weight is that of the own block


@pytest.mark.parametrize(
    ("arch", "task", "path", "message"),
    [
        ({"model": "pvt_v2_b0", "img_size": 32}, {"pyramid_dim": 16}, "task.pyramid_dim", "has no effect"),
        (
            {"model": "focal_tiny_patch4_window7_224"},
            {"inference": "whole"},
            "task.inference",
            "takes images of 224x224 only",
        ),
        ({"model": "pit_ti_224"}, {}, "arch.model", "no pyramid"),
        ({**VIT, "patch_size": 16}, {"pyramid": "fpn"}, "task.pyramid", "fpn"),
    ],
)
def test_what_a_model_cannot_do_is_refused_with_its_path(arch, task, path, message):
    options = {"dataset": {"name": "masks/toy", "num_classes": 3}, **task}
    if "pyramid_dim" in task:
        options["pyramid_dim"] = 16
    else:
        options["pyramid_dim"] = 256
    setting = setting_of(arch, **options)
    for method in ("build", "cost"):
        with pytest.raises(SpecError) as caught:
            getattr(TASKS["segmentation"], method)(setting, INFO)
        assert [problem.path for problem in caught.value.problems] == [path]
        assert message in caught.value.problems[0].message
