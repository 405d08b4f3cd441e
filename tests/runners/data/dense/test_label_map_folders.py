"""Folders of images and label maps: layouts are found, pairs are made by name, and what has no partner is named."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from runners.data.dense.label_maps import open_label_maps
from runners.data.dense.label_values import LabelRules
from runners.data.dense.layouts import find_layout
from runners.data.readers.labelled_images import UnreadableImage
from search_space import SpecError

LAYOUTS = ["ADE20K", "Cityscapes", "plain"]
RULES = LabelRules(5)


def opened(data, splits=("train", "val"), **options):
    return open_label_maps("folder/toy", data.root, splits, options.pop("rules", RULES), in_chans=3, **options)


def messages(data, splits=("train", "val")) -> list[str]:
    with pytest.raises(SpecError) as caught:
        opened(data, splits)
    assert {problem.path for problem in caught.value.problems} == {"task.dataset"}
    return [problem.message.removeprefix("dataset 'folder/toy': ") for problem in caught.value.problems]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_found_and_read(write, layout):
    data = write(layout)
    assert find_layout(data.root).name == layout
    train, test = opened(data)
    assert (len(train), len(test)) == (3, 2)
    for split, seeds in ((train, (0, 1, 2)), (test, (3, 4))):
        for index, seed in enumerate(seeds):
            image, label_map = split.pair(index)
            assert np.array_equal(np.array(image), data.pixels(seed))
            assert np.array_equal(label_map, data.labels(seed))


@pytest.mark.parametrize(
    ("layout", "names"),
    [("ADE20K", ["0", "1", "2"]), ("Cityscapes", ["ulm/ulm_0", "ulm/ulm_1", "ulm/ulm_2"]), ("plain", ["0", "1", "2"])],
)
def test_names_of_pairs(write, layout, names):
    assert opened(write(layout))[0].names == names


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_of_splits_stand_for_one_another(write, layout):
    train, test = opened(write(layout), ("training", "validation"))
    assert (len(train), len(test)) == (3, 2)


def test_the_halves_may_name_the_split_differently(plain):
    (plain.root / "labels_val").rename(plain.root / "labels_validation")
    assert len(opened(plain)[1]) == 2


def test_a_misspelt_split_is_refused_with_what_is_there(write):
    data = write("ADE20K")
    assert messages(data, ("train", "vall")) == [
        f"there is no folder for the split 'vall' below {data.root / 'images'}, only training, validation"
    ]


def test_a_split_without_label_maps_is_refused(plain):
    shutil.rmtree(plain.root / "labels_val")
    assert messages(plain) == [
        f"there is no {plain.root / 'labels_val'}, the folder of the label maps of the split 'val'"
    ]


def test_one_folder_for_both_splits_is_refused(plain):
    assert messages(plain, ("train", "training")) == ["the splits 'train' and 'training' are the same folder"]


def test_a_folder_without_a_known_layout_is_refused_with_all_layouts(tmp_path):
    (tmp_path / "images" / "train").mkdir(parents=True)
    with pytest.raises(SpecError) as caught:
        open_label_maps("folder/toy", tmp_path, ("train", "val"), RULES, in_chans=3)
    (problem,) = caught.value.problems
    assert problem.message == (f"dataset 'folder/toy': {tmp_path} has no folders of images and label maps, only images")
    assert problem.hint == (
        "known layouts are ADE20K: images/SPLIT and annotations/SPLIT; "
        "Cityscapes: leftImg8bit/SPLIT and gtFine/SPLIT; plain: SPLIT and labels_SPLIT; what another tool wrote "
        "can be arranged as the last of them"
    )


def test_two_layouts_in_one_folder_are_refused(write, plain):
    other = write("ADE20K")
    shutil.copytree(other.root, plain.root, dirs_exist_ok=True)
    assert messages(plain) == [
        f"{plain.root} has the folders of ADE20K (images/SPLIT and annotations/SPLIT) "
        "and of plain (SPLIT and labels_SPLIT)"
    ]


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(SpecError, match="there is no folder"):
        open_label_maps("folder/toy", tmp_path / "gone", ("train", "val"), RULES, in_chans=3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_and_label_maps_without_a_partner_are_named_all_at_once(write, layout):
    data = write(layout)
    data.map("train", 1).unlink()
    data.image("val", 3).unlink()
    (image, label_map) = (data.image("train", 1), data.map("val", 3))
    image_root = image.parent.parent if layout == "Cityscapes" else image.parent
    map_root = label_map.parent.parent if layout == "Cityscapes" else label_map.parent
    expected = data.map("train", "NAME")
    pattern = {
        "ADE20K": expected,
        "plain": expected,
        "Cityscapes": data.root / "gtFine/train/CITY/NAME_gtFine_labelTrainIds.png",
    }[layout]
    other_root = data.image("val", 4).parent.parent if layout == "Cityscapes" else data.image("val", 4).parent
    assert messages(data) == [
        f"1 image ({image.relative_to(image_root)}) of the split 'train' without a label map ({pattern})",
        f"1 label map ({label_map.relative_to(map_root)}) of the split 'val' without an image in {other_root}",
    ]


def test_of_many_the_first_are_named_and_all_are_counted(plain):
    for index in range(10, 15):
        plain.save(plain.image("train", index), plain.pixels(index))
    (message,) = messages(plain)
    assert message.startswith("5 images (10.png, 11.png, 12.png and 2 more) of the split 'train' without a label map")


def test_two_images_of_one_name_are_refused(plain):
    Image.fromarray(plain.pixels(0)).save(plain.root / "train/0.jpg")
    assert messages(plain) == [
        "2 images (0.jpg, 0.png) of the split 'train' with equal names but for the extension, in "
        f"{plain.root / 'train'}"
    ]


def test_label_maps_of_another_format_are_refused_once(plain):
    plain.map("train", 0).unlink()
    Image.fromarray(plain.labels(0)).save(plain.root / "labels_train/0.jpg")
    assert messages(plain) == [
        f"1 label map (0.jpg) of the split 'train' of another format than PNG, in {plain.root / 'labels_train'}"
    ]


def test_images_in_folders_are_refused_where_the_layout_has_none(plain):
    plain.save(plain.root / "train/more/9.png", plain.pixels(9))
    assert messages(plain) == [f"1 image (more/9.png) of the split 'train' in folders inside {plain.root / 'train'}"]


def test_images_beside_the_cities_are_refused(write):
    data = write("Cityscapes")
    data.save(data.root / "leftImg8bit/train/x_leftImg8bit.png", data.pixels(9))
    assert messages(data) == [
        "1 image (x_leftImg8bit.png) of the split 'train' beside the folders of cities, or below them "
        f"{data.root / 'leftImg8bit/train'}"
    ]


def test_an_empty_split_is_refused(plain):
    for seed in (3, 4):
        plain.image("val", seed).unlink()
        plain.map("val", seed).unlink()
    assert messages(plain) == [f"there is no image in {plain.root / 'val'}"]


def test_other_files_of_cityscapes_are_no_surprise_and_its_other_label_maps_are_not_taken(write):
    data = write("Cityscapes")
    for end in ("color", "instanceIds", "labelIds"):
        data.save(data.root / f"gtFine/train/ulm/ulm_0_gtFine_{end}.png", data.labels(7))
    (data.root / "gtFine/train/ulm/ulm_0_gtFine_polygons.json").write_text("{}")
    train, _ = opened(data)
    assert train.pairs.notes == []
    assert np.array_equal(train.pair(0)[1], data.labels(0))


def test_hidden_and_other_files_are_counted_and_named(plain):
    plain.save(plain.root / "train/._0.png", plain.pixels(0))
    plain.save(plain.root / "labels_train/.ipynb_checkpoints/0.png", plain.labels(0))
    (plain.root / "train/.DS_Store").write_bytes(b"-")
    (plain.root / "train/readme.txt").write_text("-")
    train, test = opened(plain)
    assert train.pairs.notes == [
        "split 'train': 1 hidden file (._0.png) of the images not read",
        "split 'train': 1 other file (readme.txt) of the images not read",
        "split 'train': 1 hidden file (.ipynb_checkpoints/0.png) of the label maps not read",
    ]
    assert test.pairs.notes == []


def test_pairs_are_in_natural_order(plain):
    for name in ("img10", "img9"):
        plain.save(plain.image("train", name), plain.pixels(9))
        plain.save(plain.map("train", name), plain.labels(9))
    assert opened(plain)[0].names == ["0", "1", "2", "img9", "img10"]


def test_grey_images_and_reduced_labels(plain):
    rules = LabelRules(4, reduce_zero_label=True)
    train, _ = open_label_maps("folder/toy", plain.root, ("train", "val"), rules, in_chans=1)
    image, label_map = train.pair(0)
    assert image.mode == "L"
    expected = np.where(plain.labels(0) == 0, 255, plain.labels(0).astype(int) - 1)
    assert np.array_equal(label_map, expected)


@pytest.mark.parametrize(
    ("write_fault", "message"),
    [
        (lambda data: data.image("train", 0).write_bytes(b"-"), "cannot identify image file"),
        (lambda data: data.map("train", 0).write_bytes(b"-"), "cannot identify image file"),
        (
            lambda data: data.save(data.map("train", 0), data.labels(0)[:4]),
            r"labels_train.0\.png: the label map has 4 x 8, its image 6 x 8 \(high x wide\)",
        ),
        (
            lambda data: data.save(data.map("train", 0), data.labels(0) + np.uint8(3)),
            r"labels_train.0\.png: labels \[5, 6, 7\]; legal are 0 to 4 and 255",
        ),
        (lambda data: data.save(data.map("train", 0), data.pixels(0)), "it has colours"),
    ],
    ids=["image", "map", "size", "labels", "colours"],
)
def test_a_pair_that_cannot_be_read_is_an_error_that_names_the_file(plain, write_fault, message):
    train, _ = opened(plain)
    write_fault(plain)
    with pytest.raises(UnreadableImage, match=message):
        train.pair(0)
    train.pair(1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parts_are_all_files_by_content_under_names_that_do_not_depend_on_the_place(write, layout):
    data = write(layout)
    parts = opened(data)[0].parts()
    inside = "ulm/ulm_{}_leftImg8bit.png" if layout == "Cityscapes" else "{}.png"
    assert [part.name for part in parts[:3]] == [f"images/{inside.format(seed)}" for seed in range(3)]
    assert [part.content for part in parts[3:]] == [str(data.map("train", seed)) for seed in range(3)]
    assert {part.name.split("/")[0] for part in parts[3:]} == {"maps"}
