"""Augmentation that the data leaves without effect, and strings that timm would read in part."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runners.data import DataInfo
from runners.data.augmentation.auto_augment import reason_against_aa
from runners.data.augmentation.checks import augmentation_faults
from search_space.schema.trial import TrainSpec

HELD = DataInfo("toy", (16, 16), 3, 2, 10, 0, 10, mean=(0.5,) * 3, std=(0.25,) * 3)
STREAM = replace(HELD, storage="stream")


def _faults(info=HELD, img_size=(16, 16), **train):
    return [each.message for each in augmentation_faults(TrainSpec(**train), info, img_size)]


def test_images_of_a_stream_come_once():
    assert _faults(STREAM, aug_repeats=3) == ["'toy' is a stream, whose images come in their own order and once"]
    assert _faults(aug_repeats=3) == _faults(STREAM, scale=(0.5, 1.0), no_aug=False) == []


@pytest.mark.parametrize(
    ("train", "img_size", "info"),
    [
        ({"scale": (0.5, 1.0)}, (16, 16), HELD),  # a part of an image is always resized
        ({"aa": "rand-m9"}, (16, 16), HELD),  # rotations interpolate
        ({}, (32, 32), HELD),
        ({}, (16, 16), replace(HELD, storage="loader")),
    ],
)
def test_interpolation_has_an_effect_where_anything_is_resized(train, img_size, info):
    assert _faults(info, img_size, train_interpolation="bicubic", **train) == []
    assert _faults(train_interpolation="bicubic") != []


@pytest.mark.parametrize("in_chans", [1, 3])
@pytest.mark.parametrize(
    "aa", ["rand-m9-mstd0.5-inc1", "rand-m2", "rand-m9-mstd101-n3", "rand-tweights", "augmix-m5-w4-d2", "v0", "v0r",
           "original-mstd0.5", "originalr", "3a"]
)  # fmt: skip
def test_strings_of_timm_work_on_colours_and_on_grey(aa, in_chans):
    assert reason_against_aa(aa, in_chans) == ""


@pytest.mark.parametrize(
    ("aa", "reason"),
    [
        ("", "it is empty"),
        ("v1", "Unknown AA policy v1"),
        ("rand-m", "'m' is no section of 'rand'"),
        ("rand-m9-", "'' is no section of 'rand'"),
        ("rand-m9-tstrong", "'tstrong' is no section of 'rand'"),
        ("augmix-n3", "'n3' is no section of 'augmix'"),
        ("original-m5", "'m5' is no section of 'original'"),
    ],
)
def test_what_timm_would_skip_is_named(aa, reason):
    assert reason_against_aa(aa, 3) == reason
