"""What is kept of large, small and grey images, and of streams: sizes by hand, values at the centres of new pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from results.predictions.samples import MOST_PIXELS, LabelMap, Objects, OneClass
from results.predictions.samples_file import read_samples
from runners.data import DataInfo
from runners.training.kept_samples import keep_predicted
from runners.training.precision import Precision

CPU = torch.device("cpu")


class Shows:
    """A measured model that draws one thing on every image."""

    ignored = -1
    least_score = 0.0

    def __init__(self, thing):
        self.thing = thing
        kinds = {LabelMap: "label_map", Objects: "objects", OneClass: "one_class"}
        self.draws = kinds[type(thing)]

    def drawn(self, inputs, targets, autocast):
        return [(self.thing, self.thing) for _ in inputs]


def info_of(num_test, channels=3):
    sizes = {"img_size": (4, 4), "in_chans": channels, "num_classes": 4, "num_train": 1, "num_val": 0}
    statistics = {"mean": (0.5,) * channels, "std": (0.25,) * channels}
    return DataInfo(name="any", num_test=num_test, **sizes, **statistics)


@pytest.fixture
def kept(tmp_path):
    def of(thing, *batches, wanted=1, num_test=None, channels=3):
        num_test = sum(map(len, batches)) if num_test is None else num_test
        pairs = [(images, [0] * len(images)) for images in batches]
        options = {"info": info_of(num_test, channels), "precision": Precision("off", CPU)}
        folder = tmp_path / "trials" / "a"
        keep_predicted(Shows(thing), pairs, wanted, directory=folder, **options)
        return read_samples(folder / "samples.npz").samples

    return of


def test_large_images_are_scaled_down_with_what_is_drawn_over_them(kept):
    """1024 x 2048 pixels are 2^21, four times as many as there may be: half of each side is left."""
    image = torch.full((3, 1024, 2048), 1.0)  # 0.5 + 0.25: 191 of 255
    mask = np.zeros((1, 1024, 2048), dtype=bool)
    mask[0, 100:200, 1000:] = True
    box = np.float32([[1000, 100, 2048, 200]])
    (found,) = kept(Objects(box, np.int32([2]), np.float32([0.5]), mask), [image])
    assert found.image.shape == (512, 1024, 3)
    assert MOST_PIXELS["objects"] == 512 * 1024
    assert (found.image == 191).all()
    assert found.prediction.boxes.tolist() == [[500, 50, 1024, 100]]
    rows, columns = np.nonzero(found.prediction.masks[0])
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (50, 100, 500, 1024)


def test_many_images_have_an_equal_share(kept):
    images = [torch.zeros(3, 1024, 1024) for _ in range(8)]
    found = kept(OneClass(1), images, wanted=8)
    assert {each.image.shape for each in found} == {(512, 512, 3)}
    assert sum(each.image[..., 0].size for each in found) == MOST_PIXELS["one_class"]


def test_a_label_map_gets_the_size_of_its_image(kept):
    """The label map of a file has the size of the file, and the image that of the evaluation."""
    labels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    (smaller,) = kept(LabelMap(labels), [torch.zeros(3, 2, 2)])
    assert smaller.truth.labels.tolist() == [[5, 7], [13, 15]]  # the pixel at or below the centre of each four
    (larger,) = kept(LabelMap(labels[:2, :2]), [torch.zeros(3, 4, 4)])
    assert larger.truth.labels.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [4, 4, 5, 5], [4, 4, 5, 5]]


def test_an_extreme_image_keeps_a_pixel_of_each_side(kept):
    (found,) = kept(OneClass(0), [torch.zeros(3, 1, 5_000_000)])
    assert found.image.shape[0] == 1
    assert found.image.shape[1] <= MOST_PIXELS["one_class"]


@pytest.mark.parametrize("channels", [1, 2])
def test_other_numbers_of_channels_are_shown_in_grey(kept, channels):
    values = torch.tensor([1.0, -1.0])[:channels].reshape(channels, 1, 1)  # 0.75 and 0.25
    (found,) = kept(OneClass(0), [values], channels=channels)
    assert found.image.tolist() == [[[191 if channels == 1 else 128] * 3]]


def test_of_a_stream_of_unknown_length_the_first_images_are_kept(kept):
    batches = [[torch.zeros(3, 1, 1)] * 2] * 3
    assert [each.position for each in kept(OneClass(0), *batches, wanted=3, num_test=0)] == [0, 1, 2]
    assert [each.position for each in kept(OneClass(0), *batches, wanted=3)] == [0, 2, 4]
    assert [each.position for each in kept(OneClass(0), *batches, wanted=60)] == [0, 1, 2, 3, 4, 5]
