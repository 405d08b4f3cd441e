"""`archsweep export-dataset`: what it writes is read back equal, and nothing is left where it fails."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from runners.cli.app import app
from runners.data.dense.label_facts import survey_label_maps
from runners.data.dense.label_maps import open_label_maps
from runners.data.dense.label_values import LabelRules
from runners.data.dense.layouts import find_layout
from runners.data.dense.scenes import draw_scenes
from search_space import SpecError

SMALL = ("--num-train", 12, "--num-test", 5, "--size", 48, "--data-seed", 7)


def run(*arguments: object) -> str:
    found = CliRunner().invoke(app, ["export-dataset", *map(str, arguments)])
    if isinstance(found.exception, SpecError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.fixture(params=[False, True], ids=["plain", "context"])
def exported(request, tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHSWEEP_CACHE", "off")
    run("builtin/scenes", tmp_path / "scenes", *SMALL, *["--context"] * request.param)
    train, test = (
        draw_scenes(number, split=split, side=48, seed=7, context=request.param) for number, split in ((12, 0), (5, 1))
    )
    return tmp_path / "scenes", {"train": train, "val": test}


def test_the_reader_of_label_maps_reads_it_back_equal(exported):
    root, drawn = exported
    num_classes = int(drawn["train"].label_maps.max()) + 1
    assert find_layout(root).name == "plain"
    for split in open_label_maps("folder/scenes", root, ("train", "validation"), LabelRules(num_classes), in_chans=3):
        scenes = drawn["train" if split.split == "train" else "val"]
        assert len(split) == len(scenes)
        for index in range(len(split)):
            image, label_map = split.pair(index)
            assert np.array_equal(np.array(image).transpose(2, 0, 1), scenes.pixels[index].numpy())
            assert np.array_equal(label_map, scenes.label_maps[index].numpy())
        found = survey_label_maps(split)
        assert found.faults == ()
        assert found.pixels.tolist() == np.bincount(scenes.label_maps.flatten(), minlength=num_classes).tolist()


def test_instances_are_coco(exported):
    root, drawn = exported
    for split, scenes in drawn.items():
        content = json.loads((root / f"instances_{split}.json").read_text())
        assert [each["id"] for each in content["images"]] == list(range(1, len(scenes) + 1))
        assert {(each["height"], each["width"]) for each in content["images"]} == {(48, 48)}
        assert all((root / split / each["file_name"]).is_file() for each in content["images"])
        assert [each["id"] for each in content["annotations"]] == list(range(1, len(content["annotations"]) + 1))
        expected = [
            (image + 1, int(label), int(mask.sum()))
            for image in range(len(scenes))
            for label, mask in zip(scenes.instances(image).labels, scenes.instances(image).masks, strict=True)
        ]
        found = [(each["image_id"], each["category_id"], each["area"]) for each in content["annotations"]]
        assert found == expected
        names = ["disk", "square", "triangle", "triangle in a marked image"]
        num = len(content["categories"])
        assert num >= 3
        assert content["categories"] == [{"id": i + 1, "name": names[i]} for i in range(num)]


def test_boxes_and_masks_describe_the_pixels(exported):
    """The mask is decoded here; its box is x, y, width, height, and its pixels have the class in the label map."""
    root, _ = exported
    content = json.loads((root / "instances_val.json").read_text())
    assert content["annotations"]
    for each in content["annotations"]:
        mask = _decoded(each["segmentation"])
        ys, xs = np.nonzero(mask)
        assert each["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        assert (each["area"], each["iscrowd"]) == (len(xs), 0)
        label_map = np.array(Image.open(root / "labels_val" / f"{each['image_id']:06d}.png"))
        assert set(label_map[mask].tolist()) == {each["category_id"]}


def _decoded(rle) -> np.ndarray:
    """From the description of the format: 5 bits a character, bit 5 for more, bit 4 for the sign."""
    lengths, value, shift = [], 0, 0
    for code in (ord(letter) - 48 for letter in rle["counts"]):
        value, shift = value + (code % 32 << shift), shift + 5
        if code < 32:
            value -= (code & 16 != 0) << shift
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    return np.repeat(np.arange(len(lengths)) % 2, lengths).astype(bool).reshape(rle["size"], order="F")


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_two_exports_are_equal_and_say_what_they_wrote(tmp_path):
    text = run("builtin/scenes", tmp_path / "one", *SMALL)
    run("builtin/scenes", tmp_path / "two", *SMALL)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert len(digests(tmp_path / "one")) == 2 * (12 + 5) + 2
    one, number = tmp_path / "one", {}
    for split in ("train", "val"):
        number[split] = len(json.loads((one / f"instances_{split}.json").read_text())["annotations"])
    assert text == (
        f"wrote {one}/train and {one}/labels_train: 12 images of 48 x 48 with label maps; "
        f"{one}/instances_train.json: {number['train']} instances\n"
        f"wrote {one}/val and {one}/labels_val: 5 images of 48 x 48 with label maps; "
        f"{one}/instances_val.json: {number['val']} instances\n"
    )


def test_an_empty_folder_is_taken_and_missing_parents_are_made(tmp_path):
    (tmp_path / "empty").mkdir()
    for directory in (tmp_path / "empty", tmp_path / "a" / "b"):
        run("builtin/scenes", directory, *SMALL)
        assert (directory / "instances_val.json").is_file()


def test_images_do_not_depend_on_the_parts_in_which_they_are_drawn(tmp_path):
    """More images than are drawn at once: the last one is still number 300 of the split."""
    run("builtin/scenes", tmp_path / "x", "--num-train", 300, "--num-test", 1, "--size", 32)
    expected = draw_scenes(300, split=0, side=32, seed=0, context=False).pixels[299].permute(1, 2, 0).numpy()
    assert np.array_equal(np.array(Image.open(tmp_path / "x/train/000300.png")), expected)


def refused(*arguments: object) -> str:
    with pytest.raises(SpecError) as caught:
        run(*arguments)
    return str(caught.value)


def test_a_folder_with_files_is_refused_and_stays_as_it_is(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("x")
    assert refused("builtin/scenes", tmp_path / "mine", *SMALL) == (
        f"{tmp_path / 'mine'}: is not empty\n  name one that does not exist yet"
    )
    assert os.listdir(tmp_path / "mine") == ["notes.txt"]


def test_a_file_and_the_current_folder_are_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    assert "is no folder" in refused("builtin/scenes", tmp_path / "file", *SMALL)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert "is the current folder" in refused("builtin/scenes", ".", *SMALL)


def test_another_dataset_is_refused_with_what_there_is(tmp_path):
    assert refused("builtin/scene", tmp_path / "x") == (
        "NAME: cannot export 'builtin/scene'\n  known: builtin/scenes.  Did you mean 'builtin/scenes'?"
    )


def test_nothing_is_left_where_writing_fails(tmp_path, monkeypatch):
    saved = []

    def save(self, path, *arguments, **options):
        saved.append(path)
        if len(saved) == 7:
            raise OSError(28, "No space left on device", str(path))
        Path(path).write_bytes(b"-")

    monkeypatch.setattr(Image.Image, "save", save)
    assert f"{tmp_path / 'x'}: cannot write: " in refused("builtin/scenes", tmp_path / "x", *SMALL)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("option", [("--size", 31), ("--num-train", 0), ("--num-test", 0), ("--data-seed", -1)])
def test_numbers_out_of_range_are_refused(tmp_path, option):
    found = CliRunner().invoke(app, ["export-dataset", "builtin/scenes", str(tmp_path / "x"), *map(str, option)])
    assert (found.exit_code, (tmp_path / "x").exists()) == (2, False)
