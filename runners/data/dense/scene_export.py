"""Drawn scenes as files: images and label maps that any reader opens, and instances as COCO JSON.

    DIR/train/000001.png          images                      DIR/val/...
    DIR/labels_train/000001.png   class of every pixel        DIR/labels_val/...
    DIR/instances_train.json      COCO: images, annotations, categories    DIR/instances_val.json

Ids of images, annotations and categories begin with 1: both COCO evaluators lose an annotation with id 0. `area` is the
number of visible pixels, `bbox` is [x, y, width, height], `segmentation` is compressed RLE.

The folder appears whole or not at all: everything is written beside it and renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from results.store.files import readable_write_errors
from runners.data.dense.rle import compressed_rle
from runners.data.dense.scenes import TEST, TRAIN, Instances, class_names, draw_scenes
from search_space.parsing.errors import Problem, SpecError

__all__ = ["ExportedSplit", "export_scenes"]

_IMAGES_AT_ONCE = 256


@dataclass(frozen=True)
class ExportedSplit:
    """What was written of a split."""

    name: str
    num_images: int
    num_instances: int


def export_scenes(
    directory: Path, *, num_train: int, num_test: int, side: int, seed: int, context: bool
) -> tuple[ExportedSplit, ExportedSplit]:
    """Write `builtin/scenes` below `directory`, which does not exist or is empty.

    Raises:
        SpecError: the directory is not empty, is the current one, or cannot be written.
    """
    target = directory.resolve()
    _refuse(directory, target)
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    with readable_write_errors(directory):
        try:
            partial.mkdir(parents=True)
            splits = (("train", TRAIN, num_train), ("val", TEST, num_test))
            written = [
                _export(partial, name, number, split=split, side=side, seed=seed, context=context)
                for name, split, number in splits
            ]
            os.replace(partial, target)  # also in the place of an empty folder
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return written[0], written[1]


def _refuse(directory: Path, target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise SpecError(Problem("is no folder", where=str(directory), hint="name one that does not exist yet"))
    if target.is_dir() and any(target.iterdir()):
        raise SpecError(Problem("is not empty", where=str(directory), hint="name one that does not exist yet"))
    if target == Path.cwd():
        raise SpecError(Problem("is the current folder", where=str(directory), hint="name a folder below it"))


def _export(
    root: Path, name: str, num_images: int, *, seed: int, side: int, split: int, context: bool
) -> ExportedSplit:
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    for folder in (root / name, root / f"labels_{name}"):
        folder.mkdir()
    for first in range(0, num_images, _IMAGES_AT_ONCE):
        number = min(_IMAGES_AT_ONCE, num_images - first)
        scenes = draw_scenes(number, split=split, side=side, seed=seed, context=context, first=first)
        for index in range(number):
            image_id = first + index + 1
            file = f"{image_id:06d}.png"
            Image.fromarray(np.ascontiguousarray(scenes.pixels[index].permute(1, 2, 0).numpy())).save(
                root / name / file
            )
            Image.fromarray(scenes.label_maps[index].numpy()).save(root / f"labels_{name}" / file)
            images.append({"id": image_id, "file_name": file, "height": side, "width": side})
            annotations += _annotations(scenes.instances(index), image_id, first_id=len(annotations) + 1)
    categories = [{"id": label, "name": name} for label, name in enumerate(class_names(context=context)) if label]
    content = {
        "info": {"description": f"builtin/scenes, {side} x {side}, data_seed {seed}{', context' * context}"},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    (root / f"instances_{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return ExportedSplit(name, num_images, len(annotations))


def _annotations(found: Instances, image_id: int, *, first_id: int) -> list[dict[str, Any]]:
    rows = zip(found.labels.tolist(), found.masks.numpy(), found.boxes.tolist(), strict=True)
    return [
        {
            "id": first_id + index,
            "image_id": image_id,
            "category_id": label,
            "bbox": [left, top, right - left, bottom - top],
            "area": int(mask.sum()),
            "iscrowd": 0,
            "segmentation": compressed_rle(mask),
        }
        for index, (label, mask, (left, top, right, bottom)) in enumerate(rows)
    ]
