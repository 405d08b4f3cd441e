"""Batches of detection: lists, streams of their own, validation split, shares of processes, survey."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from runners.data import describe_dataset, load_data
from runners.data.fingerprint import fingerprint
from runners.data.survey.report import survey_lines
from runners.data.survey.survey import look_at_dataset
from runners.machine.file_digests import user_file_digests
from search_space.parsing.errors import SpecError
from search_space.schema.datasets import CocoSpec, ScenesSpec
from search_space.schema.resources import Resources
from search_space.schema.task import DetectionSpec
from search_space.schema.trial import TrainSpec

CPU = torch.device("cpu")
SCENES = ScenesSpec(img_size=32, num_train=10, num_test=5)


def loaded(task: DetectionSpec, *, batch_size=4, share=None, resources=None, seed=0, **train):
    options = TrainSpec(batch_size=batch_size, **train)
    return load_data(task, options, resources or Resources(), CPU, img_size=(32, 32), seed=seed, share=share)


def coco(root, **options) -> tuple[DetectionSpec, Resources]:
    task = DetectionSpec(dataset=CocoSpec(name="coco/set"), **options)
    return task, Resources(data_dir=str(root.parent))


def same(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one[0], other[0], strict=True)) and all(
        torch.equal(a[key], b[key]) for a, b in zip(one[1], other[1], strict=True) for key in a
    )


def test_batches_are_lists_of_normalised_images_and_targets():
    data = loaded(DetectionSpec(dataset=SCENES))
    images, targets = next(data.train.epoch(1))
    assert len(data.train) == 2
    assert [tuple(each.shape) for each in images] == [(3, 32, 32)] * 4
    assert set(targets[0]) == {"boxes", "labels", "masks"}
    assert {label for each in targets for label in each["labels"].tolist()} <= {0, 1, 2}
    assert [truth.image for _, truths in data.test for truth in truths] == [0, 1, 2, 3, 4]


def test_an_epoch_depends_on_its_number_and_the_seed_only():
    task = DetectionSpec(dataset=SCENES, train_short_side=(24, 40))
    one, other = loaded(task, hflip=0.5), loaded(task, hflip=0.5)
    list(one.train.epoch(1))
    torch.rand(3)
    assert all(same(a, b) for a, b in zip(one.train.epoch(2), other.train.epoch(2), strict=True))
    assert not same(next(one.train.epoch(1)), next(other.train.epoch(2)))
    sizes = {min(image.shape[-2:]) for images, _ in one.train.epoch(1) for image in images}
    assert len(sizes) > 3


def test_processes_share_a_batch_out():
    task = DetectionSpec(dataset=SCENES)
    whole = next(loaded(task).train.epoch(1))
    parts = [
        next(loaded(task, share=lambda size, rank=rank: torch.arange(rank, size, 2)).train.epoch(1)) for rank in (0, 1)
    ]
    assert same(
        ([whole[0][at] for at in (0, 2, 1, 3)], [whole[1][at] for at in (0, 2, 1, 3)]),
        (parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]),
    )


def test_the_validation_split_is_held_out_of_the_training_images():
    data = loaded(DetectionSpec(dataset=SCENES, val_fraction=0.3), batch_size=7)
    assert (data.info.num_train, data.info.num_val) == (7, 3)
    held_out = {truth.image for _, truths in data.val for truth in truths}
    assert len(held_out) == 3
    calibrated = {truth.image for _, truths in data.calibration for truth in truths}
    assert held_out & calibrated == set()
    assert held_out | calibrated == set(range(10))


def test_images_of_folders_are_evaluated_alone(write, content):
    """What a model makes of padding would depend on the other images of a batch."""
    task, resources = coco(write(content))
    data = loaded(task, resources=resources, batch_size=2)
    assert [len(images) for images, _ in data.test] == [1, 1, 1]
    assert data.info.num_classes == 2
    assert len(data.train) == 1


def test_mask_rcnn_needs_masks_and_retinanet_does_not(write, content):
    del content["annotations"][2]["segmentation"]
    root = write(content)
    with pytest.raises(SpecError, match="1 annotations without a mask in `segmentation`, which Mask R-CNN needs: 6"):
        loaded(coco(root)[0], resources=coco(root)[1])
    task, resources = coco(root, detector="retinanet")
    _, targets = next(loaded(task, resources=resources, batch_size=3).train.epoch(1))
    assert all(set(each) == {"boxes", "labels"} for each in targets)


def test_the_survey_states_objects_and_refuses_faults(write, content):
    root = write(content)
    task, resources = coco(root)
    lines = list(survey_lines(look_at_dataset(task, resources)))
    assert lines[0] == "coco/set (train, val)"
    assert lines[2].split() == ["train", "3", "2", "66.7", "%", "20", "x", "30"]
    assert any(line.split() == ["0", "cat", "2", "2"] for line in lines)
    assert any(line.split() == ["1", "cup", "1", "1"] for line in lines)
    content["annotations"][0]["bbox"] = [2, 4, 0, 8]
    content["images"][1]["height"] = 21
    (root / "instances_train.json").write_text(json.dumps(content))
    found = look_at_dataset(task, resources)
    assert [each.message for each in found.faults] == [
        "dataset 'coco/set': instances_train.json: 1 annotations whose box has no width or no height: 0"
    ]
    with pytest.raises(SpecError, match="no width or no height"):
        loaded(task, resources=resources)
    content["annotations"][0]["bbox"] = [2, 4, 5, 8]
    (root / "instances_train.json").write_text(json.dumps(content))
    assert [each.message for each in look_at_dataset(task, resources).faults] == [
        "dataset 'coco/set': instances_train.json: 1 images of another size (high x wide) than the annotations say: "
        "b.png: 20 x 30 instead of 21 x 30"
    ]


def test_the_survey_refuses_what_only_the_trial_would_notice(write, content):
    """Objects without masks, and (Datumaro's run lengths) a split in which every object is a crowd."""
    for each in content["annotations"]:
        each["iscrowd"] = 1
    del content["annotations"][0]["segmentation"]
    task, resources = coco(write(content))
    assert [each.message for each in look_at_dataset(task, resources).faults] == [
        "dataset 'coco/set': instances_train.json: 1 annotations without a mask in `segmentation`, which "
        "Mask R-CNN needs: 0",
    ]
    task, resources = coco(Path(resources.data_dir) / "set", detector="retinanet")
    assert [each.message for each in look_at_dataset(task, resources).faults] == [
        "dataset 'coco/set': the split 'train' has no object but crowds (iscrowd: 1)",
    ]


def test_the_fingerprint_follows_the_annotations(write, content):
    root = write(content)
    task, resources = coco(root)
    before = fingerprint(task, resources, user_file_digests()).digest
    content["annotations"][0]["category_id"] = 3
    (root / "instances_train.json").write_text(json.dumps(content))
    assert fingerprint(task, resources, user_file_digests()).digest != before


def test_scenes_have_no_background_class():
    assert describe_dataset(DetectionSpec(dataset=SCENES), Resources()).num_classes == 3
    found = look_at_dataset(DetectionSpec(dataset=SCENES), Resources())
    assert found.class_names == ("disk", "square", "triangle")
    assert sum(found.train.counts) == sum(
        len(each["labels"])
        for _, ts in loaded(DetectionSpec(dataset=SCENES), batch_size=10).train.epoch(1)
        for each in ts
    )
