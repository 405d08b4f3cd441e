"""Sources of images with objects: drawn scenes, and folders in the format of COCO below `resources.data_dir`.

describe    sizes and counts
load        two splits with random access: `image(index)` and `objects`; faults are errors
open        the same for the fingerprint, whatever the faults
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from runners.data.dataset_info import SourceInfo
from runners.data.decoding import imagenet_statistics
from runners.data.detection.coco_folders import CocoSplit, open_coco
from runners.data.detection.drawn import DrawnScenes, draw_objects, names_of_scenes
from runners.data.readers.place import problem
from search_space.parsing.errors import Problem, SpecError, first_of

__all__ = [
    "FAULT_HINT",
    "describe_coco",
    "describe_drawn",
    "load_coco",
    "load_drawn",
    "mask_faults",
    "open_coco_folder",
]

_MOST_NAMED = 3
FAULT_HINT = (
    "correct the annotations or put the images there; empty_boxes: skip leaves out boxes without width or height"
)


def describe_drawn(dataset: Any) -> SourceInfo:
    return SourceInfo(
        img_size=(dataset.img_size, dataset.img_size),
        in_chans=3,
        num_classes=len(names_of_scenes(dataset)),
        num_train=dataset.num_train,
        num_test=dataset.num_test,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        class_names=names_of_scenes(dataset),
    )


def load_drawn(dataset: Any) -> tuple[DrawnScenes, DrawnScenes]:
    return draw_objects(dataset)


def describe_coco(dataset: Any, resources: Any, in_memory_bytes: int) -> SourceInfo:
    train, test = open_coco_folder(dataset, resources)
    sizes = [objects.size for objects in train.objects] or [(1, 1)]
    height, width = np.sort(np.asarray(sizes), axis=0)[(len(sizes) - 1) // 2]
    mean, std = imagenet_statistics(dataset.in_chans)
    return SourceInfo(
        img_size=(int(height), int(width)),
        in_chans=dataset.in_chans,
        num_classes=max(1, len(train.categories)),
        num_train=len(train),
        num_test=len(test),
        mean=mean,
        std=std,
        storage="loader",
        class_names=train.categories,
    )


def load_coco(dataset: Any, resources: Any, found: Any, img_size: tuple[int, int]) -> tuple[CocoSplit, CocoSplit]:
    train, test = open_coco_folder(dataset, resources)
    if faults := [*train.faults, *test.faults]:
        raise SpecError([problem(dataset, text, FAULT_HINT) for text in faults])
    return train, test


def open_coco_folder(dataset: Any, resources: Any) -> tuple[CocoSplit, CocoSplit]:
    if resources.data_dir is None:
        text = f"dataset {dataset.name!r}: no data directory is given"
        raise SpecError(Problem(text, path="task.dataset", hint="set resources.data_dir or --data-dir DIR"))
    return open_coco(
        dataset.name,
        Path(resources.data_dir) / dataset.name.partition("/")[2],
        (dataset.train_split, dataset.test_split),
        in_chans=dataset.in_chans,
        skip_empty=dataset.empty_boxes == "skip",
    )


def mask_faults(task: Any, *splits: CocoSplit) -> list[tuple[str, str]]:
    """Why a detector that is trained on masks cannot be trained on the splits, each with what to do.

    Args:
        task: a `DetectionSpec`.
    """
    if not task.has_masks:
        return []
    return [
        (
            f"{each.place.name}: {len(each.without_masks)} annotations without a mask in `segmentation`, which "
            f"Mask R-CNN needs: {first_of(each.without_masks, _MOST_NAMED)}",
            "write detector: retinanet, which needs boxes only, or complete the annotations",
        )
        for each in splits
        if each.without_masks
    ]
