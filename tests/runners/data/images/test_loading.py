"""Data of a trial is described once."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from runners.data import describe_dataset, load_data, sources
from search_space.schema.resources import Resources
from search_space.schema.trial import ClassificationSpec, DigitsSpec, ShapesSpec, TimmDatasetSpec, TrainSpec

TASKS = {
    "builtin/digits": DigitsSpec(),
    "builtin/shapes": ShapesSpec(img_size=8, num_train=40, num_test=10),
    "timm": TimmDatasetSpec(name="folder/toy"),
}


@pytest.mark.parametrize("name", sorted(TASKS))
def test_what_was_described_is_not_described_again(name, png_folder, monkeypatch):
    task, resources = ClassificationSpec(dataset=TASKS[name], val_fraction=0.25), Resources(data_dir=str(png_folder))
    shape = {"img_size": (8, 8), "seed": 0}
    expected = load_data(task, TrainSpec(batch_size=4), resources, torch.device("cpu"), **shape)
    info = describe_dataset(task, resources)

    def describe(*args):
        raise AssertionError("described again")

    monkeypatch.setitem(sources.SOURCES, name, dataclasses.replace(sources.SOURCES[name], describe=describe))
    found = load_data(task, TrainSpec(batch_size=4), resources, torch.device("cpu"), info=info, **shape)
    assert found.info == expected.info
    for ours, theirs in zip(found.test, expected.test, strict=True):
        assert torch.equal(ours[0], theirs[0])
