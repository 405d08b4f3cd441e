"""Training batches of views, in memory and read one by one: one stream per image, whatever makes its views."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from runners.data.dataset_info import DataInfo, Images
from runners.data.random_streams import generator
from runners.data.streams.sample_stream import Sample, SampleStream
from runners.data.views.drawing import MultiCrop
from runners.data.views.loader_batches import LoaderViewBatches
from runners.data.views.memory_batches import MemoryViewBatches

CPU = torch.device("cpu")
CROP = MultiCrop((8, 8), (5, 5), num_local=2, channel_jitter=0.5, channel_shift=0.5)
PLAIN = MultiCrop(
    (8, 8), (5, 5), num_local=1, hflip=0, color_jitter=0, grayscale=0, blur=(0, 0, 0), solarize=0
)  # crops of an image of one colour are of that colour


def facts(num: int) -> DataInfo:
    sizes = {"img_size": (12, 10), "in_chans": 3, "num_classes": 7, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return DataInfo(name="toy", num_train=num, num_val=0, num_test=1, **sizes)


def arrays(sizes: list[tuple[int, int]]) -> list[np.ndarray]:
    random = np.random.RandomState(0)
    return [random.randint(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]


class Pictures(Dataset):
    """PIL images; the label is the position."""

    def __init__(self, found: list[np.ndarray]) -> None:
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self._found[index]), index


class Stream(SampleStream):
    """Seven encoded pictures in two shards; the label counts them."""

    def __init__(self) -> None:
        self.name, self.num_shards, self.num_samples, self.class_to_idx = "toy train", 2, 7, {}

    def shard(self, number: int) -> Iterator[Sample]:
        for index, array in enumerate(arrays([(12 + index, 10) for index in range(7)])):
            if (index >= 4) == bool(number):
                encoded = io.BytesIO()
                Image.fromarray(array).save(encoded, "PNG")
                yield Sample(number, index % 4, str(index), encoded.getvalue(), index)


def in_memory(crop: MultiCrop = CROP, **options) -> MemoryViewBatches:
    pixels = torch.stack([torch.from_numpy(each).permute(2, 0, 1) for each in arrays([(12, 10)] * 7)])
    options = {"batch_size": 3, "device": CPU, "seed": 3, **options}
    return MemoryViewBatches(Images(pixels, torch.arange(7)), crop, info=facts(7), **options)


def one_by_one(crop: MultiCrop = CROP, *, source=None, num_workers: int = 0, **options) -> LoaderViewBatches:
    source = source or Pictures(arrays([(12, 10)] * 7))
    options = {"batch_size": 3, "device": CPU, "seed": 3, "num_workers": num_workers, **options}
    return LoaderViewBatches(source, crop, info=facts(7), **options)


def of_sizes(**options) -> LoaderViewBatches:
    return one_by_one(source=Pictures(arrays([(12 + 9 * index, 40 - 5 * index) for index in range(7)])), **options)


def of_a_stream(**options) -> LoaderViewBatches:
    return one_by_one(source=Stream(), **options)


KINDS = {"memory": in_memory, "loader": one_by_one, "sizes": of_sizes, "stream": of_a_stream}
every_kind = pytest.mark.parametrize("make", list(KINDS.values()), ids=list(KINDS))


def equal(one, other) -> bool:
    return all(
        torch.equal(a.global_views, b.global_views) and torch.equal(a.local_views, b.local_views) and torch.equal(x, y)
        for (a, x), (b, y) in zip(one, other, strict=True)
    )


def by_label(batches) -> dict[int, torch.Tensor]:
    """Global views of every image."""
    pairs = ((crops.global_views, labels.tolist()) for crops, labels in batches)
    return {label: views for images, labels in pairs for label, views in zip(labels, images, strict=True)}


@every_kind
def test_batches_are_whole_with_every_image_at_most_once(make):
    batches = make()
    found = list(batches.epoch(1))
    assert len(batches) == len(found) == 2
    for crops, labels in found:
        assert [tuple(view.shape) for view in crops.views] == [(3, 3, 8, 8)] * 2 + [(3, 3, 5, 5)] * 2
        assert {view.dtype for view in crops.views} == {torch.float32}
        assert labels.dtype == torch.int64
    assert len(by_label(found)) == 6


@every_kind
def test_an_epoch_depends_on_its_number_and_the_seed_only(make):
    batches = make()
    first = list(batches.epoch(1))
    list(batches.epoch(2))
    torch.rand(5)  # what dropout would draw
    assert equal(first, list(batches.epoch(1)))
    assert not equal(first, list(batches.epoch(2)))
    assert not equal(first, list(make(seed=4).epoch(1)))


@every_kind
def test_views_do_not_depend_on_the_batch(make):
    whole, small = by_label(make(batch_size=7).epoch(1)), by_label(make(batch_size=2).epoch(1))
    assert len(small) == 6
    assert all(torch.equal(views, whole[label]) for label, views in small.items())


@every_kind
def test_views_of_an_image_differ_between_epochs_and_between_images_of_one_batch(make):
    first, second = (by_label(make(batch_size=7).epoch(number)) for number in (1, 2))
    assert not any(torch.equal(first[label], second[label]) for label in first)
    assert len({views.numpy().tobytes() for views in first.values()}) == 7


@every_kind
def test_shares_of_two_processes_make_the_batch(make):
    whole = list(make().epoch(1))
    halves = [list(make(share=lambda size, mine=rank: torch.arange(size)[mine::2]).epoch(1)) for rank in (0, 1)]
    for (crops, labels), (first, even), (second, odd) in zip(whole, *halves, strict=True):
        assert (len(even), len(odd)) == (2, 1)
        order = torch.tensor([0, 2, 1])
        assert torch.equal(labels[order], torch.cat([even, odd]))
        assert torch.equal(crops.global_views[order], torch.cat([first.global_views, second.global_views]))
        assert torch.equal(crops.local_views[order], torch.cat([first.local_views, second.local_views]))


@every_kind
def test_the_global_generators_stay_where_they_were(make):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(make().epoch(1))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.thorough
@pytest.mark.parametrize("make", [of_sizes, of_a_stream], ids=["sizes", "stream"])
def test_the_number_of_workers_changes_no_bit(make):
    assert equal(list(make().epoch(2)), list(make(num_workers=2).epoch(2)))


def test_images_in_memory_and_read_one_by_one_give_the_same_bits():
    assert equal(list(in_memory().epoch(1)), list(one_by_one().epoch(1)))


@pytest.mark.parametrize("make", [in_memory, one_by_one], ids=["memory", "loader"])
def test_the_order_is_that_of_classification(make):
    for seed, epoch in ((3, 1), (3, 2), (4, 1)):
        found = torch.cat([labels for _, labels in make(seed=seed).epoch(epoch)])
        assert found.tolist() == torch.randperm(7, generator=generator(seed, "order", epoch)).tolist()[:6]


def test_pixels_are_normalised():
    """Images of one colour each, 0.2 and 1: (0.2 - 0.5) / 0.25 and 2."""
    source = Pictures([np.full((9, 11, 3), value, np.uint8) for value in (51, 255)])
    ((crops, labels),) = one_by_one(PLAIN, source=source, batch_size=2).epoch(1)
    for view in crops.views:
        for image, label in zip(view, labels.tolist(), strict=True):
            expected = (-1.2, 2.0)[label]
            torch.testing.assert_close(image, torch.full_like(image, expected), atol=1e-5, rtol=0)


def test_images_of_one_row_or_of_other_modes_are_read():
    grey = Image.fromarray(np.arange(40, dtype=np.uint8).reshape(1, 40))

    class Odd(Dataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int):
            return (grey, Image.new("RGBA", (30, 2)))[index], 0

    ((crops, _),) = one_by_one(source=Odd(), batch_size=2).epoch(1)
    assert all(torch.isfinite(view).all() for view in crops.views)
