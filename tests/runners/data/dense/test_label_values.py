"""Stored numbers and classes: `reduce_zero_label`, legal numbers, and every kind of PNG that may hold labels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from runners.data.dense.label_values import LabelRules, read_label_map

ADE20K = LabelRules(5, reduce_zero_label=True)
STORED = np.array([[0, 1, 2], [3, 0, 1]], dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    stream.seek(0)
    return stream


def test_zero_becomes_ignored_and_all_others_are_lowered_but_a_stored_255():
    stored = np.array([[0, 1, 5], [255, 2, 0]], dtype=np.uint8)
    assert ADE20K.classes(stored).tolist() == [[255, 0, 4], [255, 1, 255]]
    assert stored.tolist() == [[0, 1, 5], [255, 2, 0]]


def test_without_reduction_the_numbers_are_the_classes():
    assert LabelRules(5).classes(np.array([[0, 4, 255]], dtype=np.uint8)).tolist() == [[0, 4, 255]]


def test_pixels_of_every_class_are_those_that_mmsegmentation_counted():
    """Stored numbers of its recorded case of ADE20K's convention, and what its metric counted as labelled."""
    stored = {0: 14, 1: 21, 2: 20, 3: 20, 4: 20, 5: 28, 255: 3}
    counts, ignored = ADE20K.count(stored)
    assert (counts.tolist(), ignored) == ([21, 20, 20, 20, 28], 17)


@pytest.mark.parametrize(
    ("rules", "legal", "illegal"),
    [
        (LabelRules(5), "0 to 4 and 255", [5, 254]),
        (ADE20K, "0 to 5 and 255", [6, 254]),
        (LabelRules(5, ignore_label=0), "0 to 4", [5, 254, 255]),
        (LabelRules(5, ignore_label=9), "0 to 4 and 9", [5, 254, 255]),
    ],
)
def test_legal_numbers(rules, legal, illegal):
    assert rules.legal == legal
    stored = [0, 1, 4, 5, 254, 255] + ([6] if rules.reduce_zero_label else [])
    assert rules.illegal(stored) == illegal


def test_grey_labels_are_read_as_they_are_stored():
    assert np.array_equal(read_label_map(encoded(Image.fromarray(STORED))), STORED)


def test_labels_of_a_palette_are_its_indices_and_not_its_colours():
    image = Image.fromarray(STORED)
    image.putpalette([200, 10, 10, 20, 220, 30, 90, 90, 90, 1, 2, 3])
    assert np.array_equal(read_label_map(encoded(image)), STORED)


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_labels_of_few_bits_are_not_enlarged(bits):
    """Pillow reads a stored 1 of 4 bits as 17, of 2 bits as 85."""
    stream = encoded(Image.fromarray(STORED), bits=bits)
    assert np.array(Image.open(stream)).max() == {2: 255, 4: 51}[bits]
    stream.seek(0)
    assert np.array_equal(read_label_map(stream), STORED)


def test_labels_of_16_bits_are_read_where_they_are_small():
    """OpenCV and imageio write arrays of 16 bits as they are, as do exports of KITTI's format."""
    stream = encoded(Image.fromarray(np.where(STORED == 3, 255, STORED).astype(np.uint16)))
    assert read_label_map(stream).tolist() == [[0, 1, 2], [255, 0, 1]]


def test_labels_of_one_bit_are_0_and_1():
    assert read_label_map(encoded(Image.fromarray(STORED > 0))).tolist() == [[0, 1, 1], [1, 0, 1]]


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (
            encoded(Image.fromarray(np.stack([STORED, STORED, 2 * STORED], axis=2))),
            "it has colours: labels are the numbers of one channel",
        ),
        (
            encoded(Image.fromarray(STORED).convert("RGB")),
            "it has three channels, which are equal: store one of them",
        ),
        (encoded(Image.fromarray(STORED).convert("LA")), "it has an alpha channel beside the labels"),
        (
            encoded(Image.fromarray(STORED.astype(np.uint16) + 300)),
            "it has 16 bits a pixel and numbers up to 303: labels are up to 255",
        ),
        (
            encoded(Image.fromarray(STORED), "JPEG"),
            "it is a JPEG file: label maps are PNG, which keeps every number as it is",
        ),
    ],
    ids=["colours", "equal channels", "alpha", "16 bits", "jpeg"],
)
def test_what_is_no_label_map_is_refused(stream, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read_label_map(stream)
    assert str(caught.value) == message
