"""Folders in the format of COCO: what is read of them, and everything that is refused, by name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from runners.data.dense.scene_export import export_scenes
from runners.data.detection.coco_file import read_coco
from runners.data.detection.coco_folders import open_coco
from runners.data.detection.drawn import draw_objects
from runners.data.detection.objects import pixels_of, target_of
from search_space.parsing.errors import SpecError
from search_space.schema.datasets import ScenesSpec


def opened(root, splits=("train", "val"), **options):
    return open_coco("coco/set", root, splits, in_chans=3, **options)


@pytest.mark.parametrize("layout", ["plain", "COCO"])
def test_both_layouts_are_read(write, content, layout):
    train, test = opened(write(content, layout=layout), ("training", "validation"))
    assert (train.faults, test.faults, len(train)) == ([], [], 3)
    assert train.categories == ("cat", "cup")  # in the order of their ids, 3 and 90
    assert [objects.labels.tolist() for objects in train.objects] == [[1, 0], [], [0]]
    assert train.image(1).size == (30, 20)
    assert [part.name for part in train.parts()][1:] == ["images/a.png", "images/b.png", "images/c.png"]


def test_missing_areas_and_crowds_have_their_defaults(write, content):
    train, _ = opened(write(content))
    assert train.objects[0].areas.tolist() == [80, 60]  # 3 x 20
    assert train.objects[0].is_crowd.tolist() == [False, True]
    assert train.objects[2].areas.tolist() == [24]
    assert train.notes == [
        "instances_train.json: 1 of 3 objects are crowds, which are not trained on",
        "instances_train.json: 1 of 3 images without objects",
    ]


def test_targets_have_no_crowds(write, content):
    train, _ = opened(write(content))
    target = target_of(train.objects[0], masks=True)
    assert target["boxes"].tolist() == [[2, 4, 12, 12]]
    assert target["labels"].tolist() == [1]
    empty = target_of(train.objects[1], masks=True)
    assert empty["boxes"].shape == (0, 4)
    assert empty["masks"].shape == (0, 20, 30)


def test_masks_of_polygons_and_run_lengths_by_hand(write, content):
    train, _ = opened(write(content))
    polygon, crowd = (pixels_of(mask, (20, 30)) for mask in train.objects[0].masks)
    expected = np.zeros((20, 30))
    expected[4:12, 2:12] = 1
    assert np.array_equal(polygon, expected)
    assert np.array_equal(crowd, np.pad(np.ones((20, 3)), ((0, 0), (0, 27))))
    # Run lengths go down the columns: 42 = two columns and two pixels.
    by_hand = np.zeros((20, 30))
    by_hand[2:8, 2:6] = 1
    assert np.array_equal(pixels_of(train.objects[2].masks[0], (20, 30)), by_hand)


def test_drawn_scenes_are_the_same_read_from_the_files_of_the_export(tmp_path):
    """Compressed run lengths, boxes, labels from 0 and areas, by two ways."""
    export_scenes(tmp_path / "set", num_train=6, num_test=3, side=64, seed=4, context=False)
    read, drawn = opened(tmp_path / "set"), draw_objects(ScenesSpec(num_train=6, num_test=3, data_seed=4))
    for one, other in zip(read, drawn, strict=True):
        for index in range(len(other)):
            assert np.array_equal(np.asarray(one.image(index)), other.image(index).permute(1, 2, 0).numpy())
            ours, theirs = one.objects[index], other.objects[index]
            for name in ("boxes", "labels", "areas"):
                assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
            assert ours.masks == theirs.masks
    assert read[0].categories == ("disk", "square", "triangle")


def test_everything_that_is_wrong_is_named_at_once(write, content):
    images, annotations = content["images"], content["annotations"]
    images.append({"id": 7, "file_name": "d.png", "height": 20, "width": 30})
    annotations[0]["bbox"] = [2, 4, 40, 8]
    annotations[1] |= {"id": 0, "category_id": 4, "segmentation": {"size": [30, 20], "counts": [600]}}
    annotations[2]["bbox"] = [1, 1, 0, 6]
    annotations.append(
        {"id": 8, "image_id": 11, "category_id": 3, "bbox": [1, 1, 2, 2], "segmentation": [[1, 1, 2, 2]]}
    )
    annotations.append({"id": 9, "image_id": 3, "category_id": 3, "bbox": [1, 1, 2, 2], "segmentation": [[1, 1, 2, 2]]})
    train, _ = opened(write(content))
    assert train.faults == [
        "instances_train.json: 1 images with the same id: 7",
        "instances_train.json: 1 annotations of an image with the same id: 0 (image 7)",
        "instances_train.json: 1 annotations of an image that is not in `images`: 8 (image 11)",
        "instances_train.json: 1 annotations of a category that is not in `categories`: 0 (category 4)",
        "instances_train.json: 1 annotations whose box has no width or no height: 6",
        "instances_train.json: 1 annotations whose box is outside its image: 0 [2, 4, 40, 8]",
        "instances_train.json: 1 annotations with a polygon of fewer than 3 points or an odd number of coordinates: 9",
        "instances_train.json: 1 annotations whose run lengths have another size than the image: 0",
        f"instances_train.json: 1 of 4 images are missing: {train.place.images / 'd.png'}",
    ]


def test_boxes_without_width_can_be_left_out(write, content):
    content["annotations"][2]["bbox"] = [1, 1, 0, 6]
    train, _ = opened(write(content), skip_empty=True)
    assert train.faults == []
    assert "instances_train.json: 1 annotations without width or height are left out" in train.notes
    assert len(train.objects[2]) == 0


def test_boxes_are_cut_where_they_exceed_the_image_by_less_than_a_pixel(write, content):
    content["annotations"][0]["bbox"] = [20.5, 4, 10, 8]  # to 30.5 of 30
    train, _ = opened(write(content))
    assert train.objects[0].boxes[0].tolist() == [20.5, 4, 9.5, 8]


def test_splits_with_other_categories_are_refused(write, content):
    content["categories"][0]["name"] = "mug"
    _, test = opened(write(content))
    assert test.faults == ["instances_val.json: other categories than in instances_train.json: cup, mug"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[1]", "has no object with images, annotations and categories at its top"),
        ('{"images": [], "annotations": []}', "has no list 'categories'"),
        (
            '{"images": [{"id": 1}], "annotations": [], "categories": []}',
            "has no file_name, height, width in images[0]",
        ),
        (
            '{"images": [], "categories": [], "annotations": [{"image_id": 1, "category_id": 1, '
            '"bbox": [1, 2, NaN, 3]}]}',
            "has in annotations[0] the bbox [1, 2, nan, 3], not four finite numbers",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a", "height": null, "width": 3}], "annotations": [], '
            '"categories": []}',
            "has in images[0] the height None, not a number from 1",
        ),
        (
            '{"images": [{"id": 1, "file_name": 7, "height": 3, "width": 3}], "annotations": [], "categories": []}',
            "has in images[0] the file_name 7, not a text",
        ),
        (
            '{"images": [], "categories": [], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 2, 3], '
            '"iscrowd": "0"}]}',
            "has in annotations[0] the iscrowd '0', not a number from 0",
        ),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, text, fault):
    path = tmp_path / "instances.json"
    path.write_text(text)
    assert read_coco(path).faults == [f"{path} {fault}"]


def test_a_split_that_is_not_there_is_refused_with_what_is(write, content):
    root = write(content)
    with pytest.raises(SpecError) as caught:
        opened(root, ("train", "test"))
    [problem] = caught.value.problems
    assert (problem.path, problem.message, problem.hint) == (
        "task.dataset",
        f"dataset 'coco/set': there are no annotations of the split 'test' below {root}, only instances_train.json, "
        "instances_val.json",
        "known are annotations/instances_test2017.json beside test2017/, annotations/instances_test.json beside "
        "images/test/, instances_test.json beside test/, and _annotations.coco.json in test/; "
        "train_split and test_split name the splits",
    )
    with pytest.raises(SpecError, match="the splits 'val' and 'validation' are both"):
        opened(root, ("val", "validation"))


def test_a_file_that_changed_is_read_again(write, content):
    root = write(content)
    assert opened(root)[0].categories == ("cat", "cup")
    content["categories"][0]["name"] = "a longer name"
    (root / "instances_train.json").write_text(json.dumps(content))
    assert opened(root)[0].categories == ("cat", "a longer name")
