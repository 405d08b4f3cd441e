"""Detection as a task: loss, metrics, evaluation in single precision, order of images, resume, a whole sweep."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from results import Run
from runners.data import describe_dataset, load_data
from runners.data.detection.objects import Objects, Truth
from runners.planning.make_plan import make_plan
from runners.planning.profiling import activation_mib
from runners.run_sweep import run_sweep
from runners.tasks import TASKS
from runners.training.distributed_trial import run_trial_in_processes
from runners.training.precision import Precision
from runners.training.trial import run_trial
from search_space import SpecError, load_sweep
from search_space.schema.datasets import ScenesSpec
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.task import DetectionSpec
from search_space.schema.trial import ArchSpec, TrainSpec, TrialSpec
from search_space.settings.training_relations import broken_relations

CPU = torch.device("cpu")
GROUPMIX = {
    "model": "groupmixformer_mobile_224",
    "img_size": 32,
    "options": {"embed_dims": [20, 20, 20, 20], "depths": [1, 1, 1, 1]},
}
HEADS = {"box_dim": 16, "mask_dim": 8, "mask_layers": 1, "proposals": 20, "box_samples": 16}
SCENES = ScenesSpec(img_size=32, num_train=16, num_test=6)
STARTED = {"epochs": 2, "batch_size": 4, "lr": 1e-3}


def spec_of(detector: str = "mask_rcnn", *, arch=None, seed=0, train=None, **options) -> TrialSpec:
    heads = HEADS if detector == "mask_rcnn" else {"finest_stride": 4}
    given = {"detector": detector, "dataset": SCENES, "pyramid_dim": 8, "anchor_size": 8, **heads, **options}
    return TrialSpec(
        arch=ArchSpec.model_validate(arch or GROUPMIX),
        task=DetectionSpec(**given),
        train=TrainSpec(**(STARTED | (train or {}))),
        seed=seed,
    )


def built(spec: TrialSpec):
    info = describe_dataset(spec.task, Resources())
    kind = TASKS["detection"]
    model = kind.build(spec, info, seed=spec.seed)
    return kind(model, info=info, spec=spec.task, train=spec.train, device=CPU), info


def data_of(spec: TrialSpec):
    size = TASKS["detection"].input_size(spec, describe_dataset(spec.task, Resources()))
    return load_data(spec.task, spec.train, Resources(), CPU, img_size=size, seed=spec.seed)


class Answers(nn.Module):
    """A detector that gives the boxes of the truth of an image, whose first pixel is its number."""

    def __init__(self, boxes: dict[int, list[list[float]]]) -> None:
        super().__init__()
        self.boxes = boxes

    def forward(self, images):
        found = [torch.tensor(self.boxes[int(image[0, 0, 0])]).reshape(-1, 4) for image in images]
        return [{"boxes": b, "labels": torch.zeros(len(b)).long(), "scores": torch.full((len(b),), 0.5)} for b in found]


def measured(boxes, truths, *, order=None):
    spec = spec_of("retinanet")
    task = TASKS["detection"](Answers(boxes), info=None, spec=spec.task, train=spec.train, device=CPU)
    batches = [([torch.full((3, 4, 4), float(at))], [truths[at]]) for at in (order or range(len(truths)))]
    return task.metrics(batches, contextlib.nullcontext())


def truth(at: int, *boxes: tuple[float, ...]) -> Truth:
    return Truth(at, Objects((100, 100), np.array(boxes, dtype=float).reshape(-1, 4), np.zeros(len(boxes), dtype=int)))


def test_metrics_are_percentages_and_undefined_ones_are_absent():
    found = measured({0: [[10, 10, 50, 50]], 1: []}, [truth(0, (10, 10, 40, 40)), truth(1, (10, 10, 40, 40))])
    half = 100 * 51 / 101  # of the recalls
    expected = dict.fromkeys(("box_ap", "box_ap50", "box_ap75", "box_ap_medium"), half)
    assert found == pytest.approx(expected)


def test_a_detector_that_finds_nothing_has_zero():
    assert measured({0: []}, [truth(0, (10, 10, 40, 40))])["box_ap"] == 0


def test_equal_scores_rank_by_the_image_whatever_the_order_of_the_batches():
    """Image 0 has an object and image 1 a false alarm of the same score."""
    boxes, truths = {0: [[10, 10, 50, 50]], 1: [[0, 0, 9, 9]]}, [truth(0, (10, 10, 40, 40)), truth(1)]
    assert measured(boxes, truths)["box_ap"] == measured(boxes, truths, order=[1, 0])["box_ap"] == pytest.approx(100)


@pytest.mark.default_run("mask_rcnn")
@pytest.mark.parametrize("detector", ["mask_rcnn", "retinanet"])
def test_the_loss_is_the_sum_of_the_detectors_losses(detector):
    spec = spec_of(detector)
    task, _ = built(spec)
    images, targets = next(data_of(spec).train.epoch(1))
    torch.manual_seed(1)
    loss = task.loss((images, targets), None)
    torch.manual_seed(1)
    assert loss.item() == pytest.approx(sum(each.item() for each in task.model(images, targets).values()))


def test_evaluation_is_in_single_precision_whatever_training_is():
    spec = spec_of(train={"amp": "bfloat16"}, score_threshold=0.0, detections=5)
    task, _ = built(spec)
    seen = []
    task.evaluated_model.backbone.register_forward_hook(lambda module, given, maps: seen.append(maps[0].dtype))
    data, precision = data_of(spec), Precision("bfloat16", CPU)
    first = task.metrics(data.test, precision.autocast())
    assert set(seen) == {torch.float32}
    assert first == task.metrics(data.test, contextlib.nullcontext())
    seen.clear()
    with precision.autocast():
        loss = task.loss(next(data.train.epoch(1)), None)
    assert seen == [torch.bfloat16]
    assert torch.isfinite(loss)


def test_evaluation_changes_neither_mode_nor_generator():
    spec = spec_of(score_threshold=0.0)
    task, _ = built(spec)
    before = torch.get_rng_state()
    task.metrics(data_of(spec).test, contextlib.nullcontext())
    assert torch.equal(torch.get_rng_state(), before)
    assert task.model.training


def test_the_network_takes_its_example_and_has_a_cost():
    spec = spec_of()
    info = describe_dataset(spec.task, Resources())
    cost = TASKS["detection"].cost(spec, info)
    model = TASKS["detection"].build(spec, info)
    assert cost.params_m == pytest.approx(sum(each.numel() for each in model.parameters()) / 1e6)
    assert activation_mib(spec, info) > 0


def paths(spec: TrialSpec) -> list[tuple[str, str]]:
    return [(each.path, each.message) for each in broken_relations(spec)]


def test_options_without_effect_are_refused():
    assert paths(spec_of()) == paths(spec_of("retinanet")) == []
    assert paths(spec_of("retinanet", box_dim=16, proposals=20)) == [
        ("task.box_dim", "'retinanet' has one dense head, so box_dim=16 would have no effect"),
        ("task.proposals", "'retinanet' has one dense head, so proposals=20 would have no effect"),
    ]
    assert paths(spec_of(short_side=64, long_side=32, train_short_side=[40, 20])) == [
        ("task.long_side", "short_side <= long_side must hold, but got short_side=64, long_side=32"),
        ("task.train_short_side", "the smaller side comes first, but got [40, 20]"),
    ]
    assert paths(spec_of(long_side=32, train_short_side=[40, 50])) == [
        ("task.train_short_side", "no short side can be over long_side=32, but got [40, 50]")
    ]
    assert paths(spec_of(dataset="coco/set", probes=["attention_entropy"])) == [
        ("task.probes", "probes compare maps of images of one size, and those of 'coco/set' differ")
    ]
    assert [path for path, _ in paths(spec_of(train={"mixup": 0.2, "crop_padding": 2}))] == [
        "train.mixup",
        "train.crop_padding",
    ]


def test_training_images_that_do_not_fit_a_model_of_one_size_are_refused():
    focal = {"model": "focal_tiny_patch4_window7_224", "img_size": 32, "options": {"depths": [1, 1, 1, 1]}}
    spec = spec_of(arch=focal, train_short_side=[24, 40])
    with pytest.raises(SpecError) as caught:
        TASKS["detection"].cost(spec, describe_dataset(spec.task, Resources()))
    assert str(caught.value) == (
        "task.train_short_side: 'focal_tiny_patch4_window7_224' takes images of 32x32 only, but training images have a "
        "longer side of up to 40\n  write train_short_side: [..., 32], long_side: 32 or a larger arch.img_size"
    )


def trained(spec: TrialSpec, directory: Path | None = None, **options):
    options = {"report": lambda point: False, "metric": "box_ap", **options}
    often = Checkpoints(min_seconds=0)
    return run_trial(spec, resources=Resources(), device="cpu", directory=directory, checkpoints=often, **options)


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["mask_rcnn", "retinanet"])
def test_a_preempted_trial_continues_bit_for_bit(tmp_path, detector):
    """Also the sampling of anchors and proposals, which draws from the global generator."""
    spec = spec_of(detector, train_short_side=[24, 40], train={"hflip": 0.5}, score_threshold=0.0)
    whole = trained(spec, tmp_path / "whole")
    calls = iter(range(10**6))
    left = trained(spec, tmp_path / "parts", is_preempted=lambda: next(calls) >= 6)  # of 4 updates an epoch
    assert (left.status, left.epochs) == ("preempted", 1)
    ended = trained(spec, tmp_path / "parts")
    assert ended.curve == whole.curve
    assert ended.metrics == whole.metrics
    assert whole.metrics["box_ap50"] >= 0


@pytest.mark.thorough
def test_batchnorms_in_attention_are_recalibrated_and_probed():
    """Both look at the backbone, with lists of images."""
    vit = {"model": "vit", "depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 8, "attention": "reattention"}
    spec = spec_of(arch=vit, probes=["attention_entropy", "cross_layer_similarity"], probe_images=3)
    outcome = trained(spec)
    assert 0 < outcome.metrics["attention_entropy"] < np.log(17)
    assert "cross_layer_similarity" in outcome.metrics


SWEEP = """
name: detectors
baseline:
  arch: {model: groupmixformer_mobile_224, img_size: 32, options: {embed_dims: [20, 20, 20, 20], depths: [1, 1, 1, 1]}}
  task:
    name: detection
    dataset: {name: builtin/scenes, img_size: 32, num_train: 16, num_test: 6}
    pyramid_dim: 8
    anchor_size: 8
    finest_stride: 4
  train: {epochs: 1, batch_size: 8, lr: 1e-3, amp: bfloat16, ema_decay: 0.9}
space:
  task.detector: [mask_rcnn, retinanet]
design: one_factor
seeds: 1
"""


@pytest.mark.slow
def test_a_sweep_ranks_detectors(write_sweep, tmp_path):
    """From file to records; the metric is the task's first without a word about it."""
    plan = make_plan(load_sweep(write_sweep(SWEEP)))
    run_sweep(plan, tmp_path / "run", engine="in-process")
    run = Run.open(tmp_path / "run")
    records = {record.variant: record for record in run.records}
    assert {record.status for record in records.values()} == {"completed"}
    assert ["mask_ap" in each.metrics for each in records.values()] == [True, False]
    assert all({"box_ap", "box_ap@ema"} <= set(each.metrics) for each in records.values())
    assert plan.as_run_plan().metric == "box_ap"


@pytest.mark.slow
def test_two_processes_compute_what_one_computes(tmp_path):
    """RetinaNet samples nothing at random, and its loss is a mean over images: sums differ in their rounding alone.
    The detections of both processes are measured together, five images in the order of the split."""
    scenes = ScenesSpec(img_size=32, num_train=16, num_test=5)
    vit = {"model": "vit", "depth": 1, "embed_dim": 16, "num_heads": 2, "patch_size": 8}  # without BatchNorm
    spec = spec_of("retinanet", arch=vit, dataset=scenes, train={"hflip": 0.5}, score_threshold=0.0)
    one, two = (
        run_trial_in_processes(
            spec,
            report=lambda point: False,
            resources=Resources(cpus=2, processes=processes),
            directory=tmp_path / str(processes),
            metric="box_ap",
        )
        for processes in (1, 2)
    )
    assert [point["train_loss"] for point in two.curve] == pytest.approx(
        [point["train_loss"] for point in one.curve], rel=1e-4
    )
    assert one.metrics["box_ap50"] > 0
    # Scores that are equal up to rounding may rank otherwise.
    assert two.metrics == pytest.approx(one.metrics, abs=0.2)
