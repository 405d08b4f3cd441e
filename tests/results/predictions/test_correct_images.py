"""The text of predictions is that of `numpy.packbits` and base64, for every number of images."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from results.predictions.correct_images import decode_correct, encode_correct


@pytest.mark.parametrize("num", [1, 7, 8, 9, 360, 4_097, 50_000])
def test_the_text_is_that_of_packbits(num):
    right = np.random.default_rng(num).random(num) < 0.7
    text = encode_correct(right.tolist())
    assert text == f"{num}:{base64.b64encode(np.packbits(right).tobytes()).decode()}"
    images = decode_correct(text)
    assert images.num == num
    np.testing.assert_array_equal(np.unpackbits(np.frombuffer(images.packed, np.uint8), count=num), right)
    assert images.percent == pytest.approx(100 * right.mean(), rel=1e-12)


@pytest.mark.parametrize("is_right", [False, True])
def test_all_images_alike(is_right):
    assert decode_correct(encode_correct([is_right] * 12)).percent == 100 * is_right


def test_the_size_of_the_validation_set_of_imagenet():
    assert len(encode_correct([True, False] * 25_000)) == 8_342
