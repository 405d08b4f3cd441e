"""Sources of images with label maps: drawn scenes, and folders below `resources.data_dir`.

describe    sizes and counts, cheap: names and headers
load        two splits: `Images` whose labels are maps (N, H, W), or `LabelMaps` with random access
open        the same for the fingerprint; of drawn scenes a sample
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from runners.data.dataset_info import Images, SourceInfo
from runners.data.decoding import imagenet_statistics
from runners.data.dense.label_maps import LabelMaps, open_label_maps
from runners.data.dense.label_values import LabelRules
from runners.data.dense.scenes import TEST, TRAIN, class_names, draw_scenes
from runners.data.readers.image_facts import known_sizes
from search_space.parsing.errors import Problem, SpecError

__all__ = ["describe_folder", "describe_scenes", "load_folder", "load_scenes", "open_folder", "open_scenes"]

_SAMPLE = 16


def describe_scenes(dataset: Any, resources: Any, in_memory_bytes: int) -> SourceInfo:
    return SourceInfo(
        img_size=(dataset.img_size, dataset.img_size),
        in_chans=3,
        num_classes=len(class_names(context=dataset.context)),
        num_train=dataset.num_train,
        num_test=dataset.num_test,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        class_names=class_names(context=dataset.context),
    )


def load_scenes(dataset: Any, resources: Any, found: Any, img_size: tuple[int, int]) -> tuple[Images, Images]:
    options = {"side": dataset.img_size, "seed": dataset.data_seed, "context": dataset.context}
    drawn = [
        draw_scenes(number, split=split, **options)
        for number, split in ((dataset.num_train, TRAIN), (dataset.num_test, TEST))
    ]
    train, test = (Images(each.pixels, each.label_maps) for each in drawn)
    return train, test


def open_scenes(dataset: Any, resources: Any) -> tuple[Images, Images]:
    """The first images of each split: whatever changes them changes the later ones, too."""
    few = {"num_train": min(_SAMPLE, dataset.num_train), "num_test": min(_SAMPLE, dataset.num_test)}
    return load_scenes(dataset.model_copy(update=few), resources, None, (0, 0))


def describe_folder(dataset: Any, resources: Any, in_memory_bytes: int) -> SourceInfo:
    train, test = open_folder(dataset, resources)
    sizes = [size for size in known_sizes(train.pairs.images, train.pairs.image_root) if size is not None]
    height, width = np.sort(np.asarray(sizes or [(1, 1)]), axis=0)[(len(sizes or [0]) - 1) // 2]
    mean, std = imagenet_statistics(dataset.in_chans)
    return SourceInfo(
        img_size=(int(height), int(width)),
        in_chans=dataset.in_chans,
        num_classes=dataset.num_classes,
        num_train=len(train),
        num_test=len(test),
        mean=mean,
        std=std,
        storage="loader",
    )


def load_folder(
    dataset: Any, resources: Any, found: Any, img_size: tuple[int, int], *, ignore_label: int = 255
) -> tuple[LabelMaps, LabelMaps]:
    rules = LabelRules(dataset.num_classes, ignore_label, dataset.reduce_zero_label)
    splits = (dataset.train_split, dataset.test_split)
    root = _root(dataset, resources)
    return open_label_maps(dataset.name, root, splits, rules, in_chans=dataset.in_chans)


def open_folder(dataset: Any, resources: Any) -> tuple[LabelMaps, LabelMaps]:
    return load_folder(dataset, resources, None, (0, 0))


def _root(dataset: Any, resources: Any) -> Path:
    if resources.data_dir is None:
        text = f"dataset {dataset.name!r}: no data directory is given"
        hint = "set resources.data_dir or --data-dir DIR"
        raise SpecError(Problem(text, path="task.dataset", hint=hint))
    return Path(resources.data_dir) / dataset.name.partition("/")[2]
