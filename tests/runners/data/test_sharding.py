"""Sharding: the shards of all processes are together the batches of one process, image for image."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from runners.data import load_data
from runners.training.process_group import ProcessGroup, in_order
from search_space.schema.resources import Resources
from search_space.schema.trial import ClassificationSpec, ShapesSpec, TimmDatasetSpec, TrainSpec

NOISE = {"hflip": 0.5, "reprob": 0.5}


@pytest.fixture(params=["memory", "loader"])
def load(request, tmp_path):
    """Function that loads 21 training images in batches of 6, and 7 test images, for one process of several."""
    dataset = ShapesSpec(img_size=8, num_train=21, num_test=7)
    train = TrainSpec(batch_size=6, **NOISE)
    memory = 2**30
    if request.param == "loader":
        generator = torch.Generator().manual_seed(0)
        for split, count in (("train", 21), ("validation", 7)):
            for index in range(count):
                folder = tmp_path / "toy" / split / ("cat" if index % 2 else "dog")
                folder.mkdir(parents=True, exist_ok=True)
                pixels = torch.randint(256, (8, 8, 3), generator=generator, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(folder / f"{index}.png")
        dataset, memory = TimmDatasetSpec(name="folder/toy"), 0

    def load_(share=None):
        return load_data(
            ClassificationSpec(dataset=dataset), train, Resources(data_dir=str(tmp_path)), torch.device("cpu"),
            img_size=(8, 8), seed=3, share=share, in_memory_bytes=memory,
        )  # fmt: skip

    return load_


@pytest.mark.parametrize("size", [2, 3])
def test_shares_of_every_batch_are_the_batch(load, size):
    whole, processes = load(), [ProcessGroup(rank, size) for rank in range(size)]
    parts = [load(share=one.shard_of) for one in processes]
    assert len(whole.train) == 3
    for epoch in (1, 2):
        shares = [list(part.train.epoch(epoch)) for part in parts]
        for number, (images, labels) in enumerate(whole.train.epoch(epoch)):
            for one, share in zip(processes, shares, strict=True):
                index = one.shard_of(6)
                assert torch.equal(share[number][0], images[index])
                assert torch.equal(share[number][1], labels[index])
    expected = torch.cat([images for images, _ in whole.test])
    found = [torch.cat([images for images, _ in part.test]) for part in parts]
    assert sum(map(len, found)) == 7
    assert torch.equal(in_order(found, batch_size=6), expected)
