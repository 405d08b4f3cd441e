"""Registry of image sources. To add one: a file in the room of its task and a line here."""

from __future__ import annotations

from typing import Any

from runners.data.dataset_info import Source
from runners.data.dense import sources as label_maps
from runners.data.detection import sources as objects
from runners.data.images import digits, grains, plugin_datasets, shapes
from runners.data.images import timm_datasets as timm_names
from runners.data.text import sources as texts

__all__ = ["SOURCES", "source_of"]

SOURCES: dict[str, Source] = {
    "builtin/digits": Source(digits.describe, digits.load, digits.open_splits),
    "builtin/shapes": Source(shapes.describe, shapes.load, shapes.open_splits),
    "builtin/grains": Source(grains.describe, grains.load, grains.open_splits),
    "builtin/scenes": Source(label_maps.describe_scenes, label_maps.load_scenes, label_maps.open_scenes),
    "masks": Source(label_maps.describe_folder, label_maps.load_folder, label_maps.open_folder),
    "coco": Source(objects.describe_coco, objects.load_coco, objects.open_coco_folder),
    "builtin/recall": Source(texts.describe_recall, texts.load_recall, texts.open_recall),
    "glue": Source(texts.describe_texts, texts.load_texts, texts.open_texts),
    "text": Source(texts.describe_texts, texts.load_texts, texts.open_texts),
    "plugin": Source(plugin_datasets.describe, plugin_datasets.load, plugin_datasets.open_splits),
    "timm": Source(timm_names.describe, timm_names.load, timm_names.open_splits),
}
"""Names of the built-in datasets, and the kinds of all others (`kind` of their spec)."""


def source_of(dataset: Any) -> Source:
    return SOURCES[dataset.kind or dataset.name]
