"""PNGs are those that another library reads."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from results.markup.png import indexed_png, png_uri, rgb_png


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (40, 2)])
def test_pixels_are_read_as_they_were_written(size):
    pixels = np.random.RandomState(0).randint(0, 256, (*size, 3)).astype(np.uint8)
    found = Image.open(io.BytesIO(rgb_png(pixels)))
    assert found.mode == "RGB"
    assert np.array_equal(np.asarray(found), pixels)


def test_indices_are_read_as_colours_with_their_opacity():
    palette = np.uint8([[0, 0, 0, 0], [10, 20, 30, 40], [255, 254, 253, 252]])
    indices = np.uint8([[0, 1, 2], [2, 2, 1]])
    found = Image.open(io.BytesIO(indexed_png(indices, palette))).convert("RGBA")
    assert np.array_equal(np.asarray(found), palette[indices])


def test_an_address_holds_the_file():
    png = rgb_png(np.zeros((1, 1, 3), dtype=np.uint8))
    kind, _, content = png_uri(png).partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == png
