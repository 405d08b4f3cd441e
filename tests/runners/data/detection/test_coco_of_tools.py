"""Folders as annotation tools write them: other layouts, names of files, ids and orders of categories."""

from __future__ import annotations

import json
import shutil

import pytest

from runners.data.detection.coco_folders import open_coco
from search_space.parsing.errors import SpecError


def opened(root, splits=("train", "val")):
    return open_coco("coco/set", root, splits, in_chans=3)


def rewritten(root, change, splits=("train", "val")):
    for split in splits:
        path = root / f"instances_{split}.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
    return root


def test_images_may_be_below_a_folder_of_their_own(write, content):
    """Datumaro: annotations/instances_train.json and images/train/."""
    root = write(content)
    for split in ("train", "val"):
        (root / "images").mkdir(exist_ok=True)
        (root / "annotations").mkdir(exist_ok=True)
        shutil.move(root / split, root / "images" / split)
        shutil.move(root / f"instances_{split}.json", root / "annotations")
    train, test = opened(root)
    assert (train.faults, test.faults, train.image(0).size) == ([], [], (30, 20))
    (root / "train").mkdir()
    with pytest.raises(SpecError) as caught:
        opened(root)
    [problem] = caught.value.problems
    assert problem.message == (
        f"dataset 'coco/set': the images of {root}/annotations/instances_train.json could be in {root}/train and "
        f"{root}/images/train"
    )


def test_annotations_may_be_beside_the_images(write, content):
    """Roboflow: train/_annotations.coco.json, valid/_annotations.coco.json. Messages name the folder, too."""
    root = write(content)
    (root / "val").rename(root / "valid")
    shutil.move(root / "instances_train.json", root / "train" / "_annotations.coco.json")
    shutil.move(root / "instances_val.json", root / "valid" / "_annotations.coco.json")
    train, test = opened(root)
    assert (train.faults, test.faults, len(test)) == ([], [], 3)
    assert test.notes[-1] == "valid/_annotations.coco.json: 1 of 3 images without objects"
    assert [part.name for part in train.parts()][1:] == ["images/a.png", "images/b.png", "images/c.png"]


@pytest.mark.parametrize(
    ("written", "names", "is_noted"),
    [
        ("train/{}", "train/{}", False),  # below the root of the dataset
        ("/home/me/pictures/{}", "{}", True),  # labelme2coco: where the tool ran
        ("C:\\pictures\\{}", "{}", True),
        ("../images/{}", "{}", True),
    ],
)
def test_file_names_with_folders_find_the_images_of_the_split(write, content, written, names, is_noted):
    """Names in the fingerprint are those below the dataset, whatever the machine of the tool was."""

    def change(content):
        for image in content["images"]:
            image["file_name"] = written.format(image["file_name"])

    train, _ = opened(rewritten(write(content), change, ["train"]))
    assert train.faults == []
    assert train.names == [names.format(name) for name in ("a.png", "b.png", "c.png")]
    assert [train.image(at).size for at in range(3)] == [(30, 20)] * 3
    note = f"instances_train.json: images are found by the last part of `file_name`, as of {written.format('a.png')!r}"
    assert (note in train.notes) == is_noted


def test_images_are_never_taken_from_outside_of_the_dataset(write, content, tmp_path):
    root = write(content)
    outside = tmp_path / "elsewhere"
    shutil.move(root / "train", outside)
    (root / "train").mkdir()

    def change(content):
        for image in content["images"]:
            image["file_name"] = str(outside / image["file_name"])

    train, _ = opened(rewritten(root, change, ["train"]))
    first = ", ".join(str(root / "train" / name) for name in ("a.png", "b.png", "c.png"))
    assert train.faults == [f"instances_train.json: 3 of 3 images are missing: {first}"]


def test_absolute_names_that_end_alike_are_refused(write, content):
    def change(content):
        for image, folder in zip(content["images"], "xyz", strict=True):
            image["file_name"] = f"/{folder}/a.png"

    root = rewritten(write(content), change, ["train"])
    assert opened(root)[0].faults == [
        f"instances_train.json: images have to be below {root}/train, and are elsewhere: /x/a.png, /y/a.png, /z/a.png"
    ]


def test_categories_are_matched_by_name_where_splits_number_them_otherwise(write, content):
    """labelme2coco and PyLabel number categories in the order in which a split has them."""
    renumbered = {3: 1, 90: 0}  # cat is class 0 of the training split, and its id is the second one of the test split

    def change(content):
        for each in content["categories"]:
            each["id"] = renumbered[each["id"]]
        for each in content["annotations"]:
            each["category_id"] = renumbered[each["category_id"]]

    train, test = opened(rewritten(write(content), change, ["val"]))
    assert (train.categories, test.categories, test.faults) == (("cat", "cup"), ("cat", "cup"), [])
    for split in (train, test):
        assert [objects.labels.tolist() for objects in split.objects] == [[1, 0], [], [0]]
    assert test.notes[-1] == (
        "instances_val.json: categories in another order than in instances_train.json, matched by their names"
    )


def test_a_test_split_may_lack_categories_and_not_have_others(write, content):
    def keep_cats(content):
        content["categories"] = [each for each in content["categories"] if each["name"] == "cat"]
        content["annotations"] = [each for each in content["annotations"] if each["category_id"] == 3]

    root = rewritten(write(content), keep_cats, ["val"])
    _, test = opened(root)
    assert (test.faults, test.categories) == ([], ("cat", "cup"))
    assert [objects.labels.tolist() for objects in test.objects] == [[0], [], [0]]
    assert test.notes[-1] == "instances_val.json: 1 categories less than in instances_train.json (cup)"
    _, test = opened(root, ("val", "train"))
    assert test.faults == ["instances_train.json: other categories than in instances_val.json: cup"]


def test_ids_that_begin_again_in_every_image_are_no_copies(write, content):
    """Datumaro keeps the ids of objects of a VOC dataset, which count from the first one of each image."""
    for each, number in zip(content["annotations"], (1, 2, 1), strict=True):
        each["id"] = number
    train, _ = opened(write(content))
    assert train.faults == []
    assert [len(objects) for objects in train.objects] == [2, 0, 1]
    assert "instances_train.json: 1 ids of annotations occur in several images" in train.notes


def test_null_is_a_missing_value(write, content):
    """PyLabel writes `segmentation: null`; the area is then that of the box."""
    for each in content["annotations"]:
        each |= {"segmentation": None, "area": None, "iscrowd": None, "id": None}
    content["categories"][1]["name"] = None
    train, test = opened(write(content))
    assert train.objects[0].areas.tolist() == [80, 60]
    assert train.objects[0].is_crowd.tolist() == [False, False]
    assert train.without_masks == ["one of image 7", "one of image 7", "one of image 9"]
    assert train.categories == ("3", "cup")
    assert test.without_masks == []


def test_images_that_the_annotations_do_not_name_are_counted(write, content):
    """PyLabel leaves out images without objects: they are no part of the split, which is said."""
    del content["images"][1]
    root = write(content)
    train, _ = opened(root)
    assert train.notes[-1] == (
        f"instances_train.json: 1 images in {root}/train are not in the annotations and not read: b.png"
    )
