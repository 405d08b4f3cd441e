"""Average precision of COCO: the answers of pycocotools, and the traps of evaluators."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from runners.data.detection.objects import Objects
from runners.tasks.metrics.coco_ap import Detections, average_precision, require_evaluator
from search_space.parsing.errors import SpecError


def objects(boxes, labels=None, *, size=(100, 100), **further) -> Objects:
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    return Objects(size, boxes, np.asarray([1] * len(boxes) if labels is None else labels), **further)


def detections(boxes, scores, labels=None) -> Detections:
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    return Detections(boxes, np.asarray([1] * len(boxes) if labels is None else labels), np.asarray(scores))


def from_coco(meta: dict) -> tuple[dict, dict]:
    """A COCO file and a list of results as arrays, with the ids of the file."""
    truth, found = {}, {}
    for image in meta["ground_truth"]["images"]:
        mine = [each for each in meta["ground_truth"]["annotations"] if each["image_id"] == image["id"]]
        truth[image["id"]] = objects(
            [each["bbox"] for each in mine],
            [each["category_id"] for each in mine],
            size=(image["height"], image["width"]),
            areas=np.array([each["area"] for each in mine]),
            is_crowd=np.array([each["iscrowd"] for each in mine]),
            masks=tuple(each["segmentation"] for each in mine),
        )
        results = [each for each in meta["detections"] if each["image_id"] == image["id"]]
        found[image["id"]] = Detections(
            np.array([each["bbox"] for each in results]).reshape(-1, 4),
            np.array([each["category_id"] for each in results]),
            np.array([each["score"] for each in results]),
            tuple(each.get("segmentation") for each in results),
        )
    return truth, found


@pytest.mark.golden("coco_evaluation")
def test_every_number_is_that_of_pycocotools(golden):
    truth, found = from_coco(golden.meta)
    for of, name in (("boxes", "bbox"), ("masks", "segm")):
        expected = dict(golden.meta["expected"][name])
        by_category = expected.pop("AP_per_category")
        expected |= {f"AP/{label}": value for label, value in by_category.items()}
        defined = {key: value for key, value in expected.items() if value is not None and value >= 0}
        assert average_precision(truth, found, of=of) == pytest.approx(defined, abs=1e-12, rel=0)


def test_annotation_ids_cannot_lose_a_match():
    """The first annotation would have the id 0 in a file that counts from 0: AP 0.2525 instead of 1."""
    truth = {0: objects([[10, 10, 20, 20], [50, 50, 30, 30]])}
    found = {0: detections([[10, 10, 20, 20], [50, 50, 30, 30]], [0.9, 0.8])}
    assert average_precision(truth, found, of="boxes")["AP"] == pytest.approx(1)


def test_images_have_ids_of_any_kind():
    truth = {"cat.jpg": objects([[10, 10, 20, 20]]), ("a", 1): objects([[5, 5, 50, 50]])}
    found = {("a", 1): detections([[5, 5, 50, 50]], [0.5])}
    assert average_precision(truth, found, of="boxes")["AP"] == pytest.approx(51 / 101)  # half of the recalls


def test_no_detection_at_all_is_zero_and_no_object_at_all_is_absent():
    truth = {0: objects([[10, 10, 20, 20]])}
    scores = average_precision(truth, {}, of="boxes")
    assert (scores["AP"], scores["AP50"], scores["AP_small"]) == (0, 0, 0)
    assert "AP_large" not in scores
    nothing = {0: objects([])}
    assert average_precision(nothing, {}, of="boxes") == {}
    assert average_precision(nothing, {0: detections([[1, 1, 5, 5]], [0.9])}, of="boxes") == {}


def test_a_missing_area_is_that_of_the_box():
    """faster-coco-eval alone would count 50 x 50 pixels as a small object."""
    truth = {0: objects([[10, 10, 50, 50]])}
    scores = average_precision(truth, {0: detections([[10, 10, 50, 50]], [0.9])}, of="boxes")
    assert scores["AP_medium"] == pytest.approx(1)
    assert "AP_small" not in scores


def test_detections_inside_a_crowd_are_neither_right_nor_wrong():
    truth = {0: objects([[0, 0, 20, 20], [40, 40, 60, 60]], is_crowd=np.array([0, 1]))}
    found = {0: detections([[45, 45, 10, 10], [0, 0, 20, 20]], [0.9, 0.5])}
    assert average_precision(truth, found, of="boxes")["AP"] == pytest.approx(1)


def test_scores_that_are_no_numbers_are_refused():
    """An exact box with the score NaN is AP 1 in pycocotools."""
    truth = {"a": objects([[10, 10, 20, 20]])}
    with pytest.raises(ValueError, match="1 of 2 scores in the image 'a' are not finite"):
        average_precision(truth, {"a": detections([[10, 10, 20, 20], [1, 1, 2, 2]], [np.nan, 0.5])}, of="boxes")


def test_detections_in_other_images_are_refused():
    with pytest.raises(ValueError, match="in the image 3, which is not among the 1 images"):
        average_precision({0: objects([])}, {3: detections([[1, 1, 2, 2]], [0.5])}, of="boxes")


@pytest.mark.parametrize(("right_first", "expected"), [(True, 1.0), (False, 0.5)])
def test_equal_scores_rank_in_the_order_of_the_images(right_first, expected):
    """Whatever the order of the detections' own dictionary is."""
    one, other = ("right", "wrong") if right_first else ("wrong", "right")
    images = {"right": objects([[10, 10, 20, 20]]), "wrong": objects([])}
    truth = {one: images[one], other: images[other]}
    found = {"wrong": detections([[60, 60, 9, 9]], [0.5]), "right": detections([[10, 10, 20, 20]], [0.5])}
    assert average_precision(truth, found, of="boxes")["AP"] == pytest.approx(expected)


def test_false_alarms_of_a_category_without_objects_cost_nothing():
    """As COCO is measured: such a category leaves the mean."""
    truth = {0: objects([[10, 10, 20, 20]])}
    found = {0: detections([[10, 10, 20, 20], [1, 1, 5, 5]], [0.5, 0.9], labels=[1, 2])}
    assert average_precision(truth, found, of="boxes")["AP"] == pytest.approx(1)


def test_without_the_extra_there_is_one_sentence(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("faster_coco_eval"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(SpecError) as caught:
        require_evaluator()
    assert [(each.path, each.message, each.hint) for each in caught.value.problems] == [
        (
            "task.name",
            "detection is measured by faster-coco-eval, which is not installed",
            "install it by pip install 'archsweep[dense]'",
        )
    ]
