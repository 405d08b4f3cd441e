"""What is inside a split of label maps: pixels of every class, and every fault at once."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from runners.data.dense.label_facts import survey_label_maps
from runners.data.dense.label_maps import open_label_maps
from runners.data.dense.label_values import LabelRules
from runners.data.readers.image_facts import forget


def survey(data, rules=LabelRules(5), index: int = 0):
    return survey_label_maps(open_label_maps("folder/toy", data.root, ("train", "val"), rules, in_chans=3)[index])


def test_pixels_of_every_class_and_the_majority_share(plain):
    """Counted here with a comparison for every class; 3 x 48 pixels."""
    maps = np.stack([plain.labels(seed) for seed in range(3)])
    expected = [int((maps == label).sum()) for label in range(5)]
    found = survey(plain)
    assert found.pixels.tolist() == expected
    assert found.majority_share == max(expected) / 144
    assert (found.ignored, found.faults, found.notes) == (0, (), ())
    assert [(fact.height, fact.width) for fact in found.images] == [(6, 8)] * 3
    assert len({fact.digest for fact in found.images}) == 3


def test_ignored_pixels_leave_the_shares(plain):
    """With ADE20K's convention the stored 0 has no class."""
    maps = np.stack([plain.labels(seed) for seed in range(3)])
    found = survey(plain, LabelRules(4, reduce_zero_label=True))
    expected = [int((maps == label).sum()) for label in range(1, 5)]
    assert (found.pixels.tolist(), found.ignored) == (expected, int((maps == 0).sum()))
    assert found.majority_share == max(expected) / sum(expected)


def test_every_fault_is_found_at_once_with_the_files(plain):
    plain.image("train", 0).write_bytes(b"-")
    plain.save(plain.map("train", 1), plain.pixels(1))
    plain.save(plain.map("train", 2), np.full((4, 8), 7, np.uint8))
    plain.save(plain.image("train", 5), plain.pixels(5))
    Image.fromarray(np.full((6, 8), 256, np.uint16)).save(plain.map("train", 5))
    root = plain.root
    assert survey(plain).faults == (
        f"1 image of the split 'train' cannot be read: {root}/train/0.png: it is no image that can be read",
        f"2 label maps of the split 'train' cannot be used: {root}/labels_train/1.png: it has colours: labels are the "
        f"numbers of one channel; {root}/labels_train/5.png: it has 16 bits a pixel and numbers up to "
        "256: labels are up to 255",
        f"1 label map of the split 'train' with another size (high x wide) than the image: "
        f"{root}/labels_train/2.png: 4 x 8 instead of 6 x 8",
        f"1 label map of the split 'train' with labels other than 0 to 4 and 255: {root}/labels_train/2.png: 7",
    )


def test_a_split_in_which_no_pixel_has_a_class_is_refused(plain):
    """The test split of Cityscapes: its label maps are filled with 255."""
    for seed in (3, 4):
        plain.save(plain.map("val", seed), np.full((6, 8), 255, np.uint8))
    found = survey(plain, index=1)
    assert found.faults == ("no pixel of the split 'val' has a class: all are 255, which is ignored",)
    assert found.majority_share == 0


def test_label_maps_and_classes_without_a_pixel_are_notes(plain):
    plain.save(plain.map("train", 0), np.full((6, 8), 255, np.uint8))
    assert survey(plain, LabelRules(7)).notes == (
        "split 'train': 1 of 3 label maps without a pixel that has a class",
        "split 'train': 2 of 7 classes without a pixel (labels 5, 6)",
    )


@pytest.fixture
def cached(plain, tmp_path, monkeypatch):
    """The dataset with times long ago, so that what is read of it is kept; a cache of its own."""
    monkeypatch.setenv("ARCHSWEEP_CACHE", str(tmp_path / "cache"))
    forget()
    yield plain
    forget()


def test_a_second_look_reads_no_file_and_other_rules_neither(cached, monkeypatch):
    import time

    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 10 * 10**9)  # the files are older than two seconds then
    first = survey(cached)
    opened = []
    monkeypatch.setattr("builtins.open", lambda *args, **options: opened.append(args) or 1 / 0)
    again = survey(cached)
    other = survey(cached, LabelRules(4, reduce_zero_label=True))
    assert (again.pixels.tolist(), opened) == (first.pixels.tolist(), [])
    assert other.pixels.tolist() == first.pixels.tolist()[1:]


def test_a_file_that_changed_is_read_again(cached):
    before = survey(cached)
    cached.save(cached.map("train", 0), np.zeros((6, 8), np.uint8))
    os.utime(cached.map("train", 0), (1, 1))
    after = survey(cached)
    assert after.pixels[0] > before.pixels[0]
    assert after.pixels.sum() == before.pixels.sum()
