"""Images that are cut to one size, so that a dataset can be held in memory."""

from __future__ import annotations

from PIL import Image

from runners.data.decoding import cut_to_size


def test_an_image_of_any_size_can_be_cut_to_any_other():
    """One image among thousands had a size whose quotients do not come back: "box offset can't be negative"."""
    failed = []
    for size in ((43, 49), (48, 48), (224, 224)):
        for height in range(1, 90):
            for width in range(1, 90, 3):
                image = Image.new("L", (width, height), 77)
                try:
                    cut = cut_to_size(image, *size)
                except ValueError as err:
                    failed.append((height, width, size, str(err)))
                    continue
                assert (cut.height, cut.width) == size
                assert cut.getextrema() == (77, 77)
    assert not failed
