"""Run lengths and their text, by hand and against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest

from runners.data.dense.rle import compressed_rle, run_lengths

RING = np.array([[letter == "#" for letter in row] for row in ("......", ".###..", ".#.#..", ".###..")])


def decoded(counts: str, shape: tuple[int, int]) -> np.ndarray:
    """Mask of compressed run lengths, from the description of the format and not from the encoder."""
    lengths, at = [], 0
    while at < len(counts):
        value, shift = 0, 0
        while True:
            code = ord(counts[at]) - 48
            at += 1
            value += (code % 32) << shift
            shift += 5
            if code < 32:
                break
        if code & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
    pixels = np.repeat(np.arange(len(lengths)) % 2, lengths).astype(bool)
    return pixels.reshape(shape, order="F")


@pytest.mark.parametrize(
    ("mask", "lengths", "text"),
    [
        # Down the columns: 5 zeros, 3 ones, 1 zero, 1 one, 1 zero, 1 one, 1 zero, 3 ones, 8 zeros. From the fourth on
        # as differences: 1 - 3 = -2 is 11110 (bit 4: negative), 48 + 30 is "N"; 1 - 1 = 0; 0; 0; 3 - 1 = 2; 8 - 1 = 7.
        (RING, [5, 3, 1, 1, 1, 1, 1, 3, 8], "531N00027"),
        # 20 is 10100: bit 4 would be a sign, so a second character follows: 48 + 32 + 20 is "d", then "0".
        (np.zeros((5, 4)), [20], "d0"),
        (np.ones((5, 4)), [0, 20], "0d0"),
        (np.array([[0, 1], [1, 1]]), [1, 3], "13"),
        (np.array([[1, 0], [0, 0]]), [0, 1, 3], "013"),
    ],
    ids=["ring", "empty", "full", "corner", "first"],
)
def test_by_hand(mask, lengths, text):
    assert run_lengths(mask) == lengths
    assert compressed_rle(mask) == {"size": list(mask.shape), "counts": text}


def test_text_recorded_from_pycocotools():
    """A rectangle of 34 x 40 in 40 x 50: pycocotools 2.0.11."""
    mask = np.zeros((40, 50), dtype=bool)
    mask[3:37, 5:45] = True
    assert compressed_rle(mask)["counts"] == "[6R16" + "0" * 77 + "U6"


def masks() -> list[np.ndarray]:
    random = np.random.RandomState(0)
    found = []
    for index in range(300):
        height, width = random.randint(1, 90, 2)
        found.append(random.rand(height, width) < random.rand() ** 3)
        if index % 2:
            y, x = np.arange(height)[:, None], np.arange(width)[None]
            found[-1] = (y - height * random.rand()) ** 2 + (x - width * random.rand()) ** 2 < (60 * random.rand()) ** 2
    return [*found, np.ones((700, 900), dtype=bool)]


def test_a_decoder_gives_the_mask_back():
    for mask in masks():
        assert np.array_equal(decoded(compressed_rle(mask)["counts"], mask.shape), mask)


def test_equal_to_pycocotools():
    coco = pytest.importorskip("pycocotools.mask")
    for mask in masks():
        expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert compressed_rle(mask) == {"size": expected["size"], "counts": expected["counts"].decode()}
