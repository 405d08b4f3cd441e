"""Annotations of a split, read from COCO's JSON: what is in it, and everything that is wrong with it, by name.

    images         id, file_name, height, width
    annotations    image_id, category_id, bbox [x, y, width, height]; id, area, iscrowd, segmentation may be missing
    categories     id, name

Images without annotations belong to the split. Numbers of classes are those of the categories in the order of their
ids, which need not be contiguous. A box may exceed its image by a pixel, because real files round, and is cut there.
A value that is null is missing. Ids of annotations may begin again in every image, as of tools that number them there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runners.data.detection.objects import Objects

__all__ = ["CocoFile", "read_coco"]

_MOST_NAMED = 3
_ROUNDING = 1.0
_FEWEST_POINTS = 3


@dataclass
class CocoFile:
    """Images of a split with their objects, in the order of the file.

    Attributes:
        names: `file_name` of every image.
        objects: of every image.
        categories: name of every class, in the order of the labels.
        faults: why it cannot be used, as sentences; `objects` is empty then.
        notes: what is odd about it, as sentences.
        without_masks: annotations without a mask, by name.
    """

    names: list[str] = field(default_factory=list)
    objects: list[Objects] = field(default_factory=list)
    categories: tuple[str, ...] = ()
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    without_masks: list[str] = field(default_factory=list)


def read_coco(path: Path, *, name: str = "", skip_empty: bool = False) -> CocoFile:
    """Read a file of annotations.

    Args:
        name: of the file in messages; that of the path by default.
        skip_empty: annotations whose box has no width or no height are left out, and counted, instead of refused.
    """
    found, name = CocoFile(), name or path.name
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as err:
        found.faults.append(f"{path} cannot be read: {err}")
        return found
    if missing := _missing(content):
        found.faults.append(f"{path} {missing}")
        return found
    images, annotations = content["images"], content["annotations"]
    categories = sorted(content["categories"], key=lambda each: (str(type(each["id"])), each["id"]))
    found.names = [each["file_name"] for each in images]
    found.categories = tuple(str(each["id"] if each.get("name") is None else each["name"]) for each in categories)
    sizes = {each["id"]: (int(each["height"]), int(each["width"])) for each in images}
    labels = {each["id"]: label for label, each in enumerate(categories)}
    for problem, named in _faults(content, sizes, labels, skip_empty=skip_empty):
        found.faults.append(f"{name}: {problem}: {named}")
    found.without_masks = [_name(each) for each in annotations if not each.get("segmentation")]
    if found.faults:
        return found
    kept = [each for each in annotations if not _is_empty(each)]
    if skipped := len(annotations) - len(kept):
        found.notes.append(f"{name}: {skipped} annotations without width or height are left out")
    of_image: dict[Any, list[Mapping[str, Any]]] = {}
    for each in kept:
        of_image.setdefault(each["image_id"], []).append(each)
    found.objects = [
        _objects(of_image.get(each["id"], ()), sizes[each["id"]], labels, masks=not found.without_masks)
        for each in images
    ]
    counts = Counter(each["id"] for each in annotations if each.get("id") is not None)
    if repeated := sum(count > 1 for count in counts.values()):
        found.notes.append(f"{name}: {repeated} ids of annotations occur in several images")
    if crowds := sum(bool(each.get("iscrowd")) for each in kept):
        found.notes.append(f"{name}: {crowds} of {len(kept)} objects are crowds, which are not trained on")
    if without := sum(not len(each) for each in found.objects):
        found.notes.append(f"{name}: {without} of {len(images)} images without objects")
    return found


def _missing(content: Any) -> str:
    """What a file lacks, as the end of a sentence; empty if it has all that is needed."""
    if not isinstance(content, dict):
        return "has no object with images, annotations and categories at its top"
    needed = {
        "images": ("id", "file_name", "height", "width"),
        "annotations": ("image_id", "category_id", "bbox"),
        "categories": ("id",),
    }
    for part, keys in needed.items():
        if not isinstance(content.get(part), list):
            return f"has no list {part!r}"
        for at, each in enumerate(content[part]):
            lacking = [key for key in keys if not isinstance(each, dict) or key not in each]
            if lacking:
                return f"has no {', '.join(lacking)} in {part}[{at}]"
            if wrong := _wrong(part, each):
                return f"has in {part}[{at}] the {wrong}"
    return ""


def _wrong(part: str, each: Mapping[str, Any]) -> str:
    """A value of an entry that cannot be used, and what it should be; empty if there is none."""
    if part == "annotations" and not _is_box(each["bbox"]):
        return f"bbox {each['bbox']!r}, not four finite numbers"
    if part == "images" and not isinstance(each["file_name"], str):
        return f"file_name {each['file_name']!r}, not a text"
    needed = {key: each[key] for key in ("height", "width") if part == "images"}
    optional = {key: each[key] for key in ("area", "iscrowd") if part == "annotations" and each.get(key) is not None}
    for key, value in {**needed, **optional}.items():
        least = 1 if key in needed else 0
        if not _is_number(value) or value < least:
            return f"{key} {value!r}, not a number from {least}"
    return ""


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(_is_number(value) for value in box)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _faults(
    content: Mapping[str, Any], sizes: Mapping[Any, tuple[int, int]], labels: Mapping[Any, int], *, skip_empty: bool
) -> Iterator[tuple[str, str]]:
    """What is wrong, and the first ones of which it is."""
    for part, key in (("images", "id"), ("images", "file_name"), ("categories", "id")):
        counts = Counter(each[key] for each in content[part])
        yield from _named(f"{part} with the same {key}", [repr(each) for each, count in counts.items() if count > 1])
    counts = Counter((each["id"], each["image_id"]) for each in content["annotations"] if each.get("id") is not None)
    twice = [f"{number!r} (image {image!r})" for (number, image), count in counts.items() if count > 1]
    yield from _named("annotations of an image with the same id", twice)
    if not content["images"]:
        yield "images", "there is none"
    annotations = content["annotations"]
    unknown = [_name(each) + f" (image {each['image_id']!r})" for each in annotations if each["image_id"] not in sizes]
    yield from _named("annotations of an image that is not in `images`", unknown)
    known = [each for each in annotations if each["image_id"] in sizes]
    unknown = [
        _name(each) + f" (category {each['category_id']!r})"
        for each in annotations
        if each["category_id"] not in labels
    ]
    yield from _named("annotations of a category that is not in `categories`", unknown)
    if not skip_empty:
        yield from _named(
            "annotations whose box has no width or no height", [_name(each) for each in known if _is_empty(each)]
        )
    outside = [f"{_name(each)} {each['bbox']}" for each in known if _is_outside(each["bbox"], sizes[each["image_id"]])]
    yield from _named("annotations whose box is outside its image", outside)
    yield from _named(
        f"annotations with a polygon of fewer than {_FEWEST_POINTS} points or an odd number of coordinates",
        [_name(each) for each in known if _has_bad_polygon(each.get("segmentation"))],
    )
    yield from _named(
        "annotations whose run lengths have another size than the image",
        [_name(each) for each in known if _has_other_size(each.get("segmentation"), sizes[each["image_id"]])],
    )


def _named(problem: str, names: Sequence[str]) -> Iterable[tuple[str, str]]:
    if names:
        more = f" and {len(names) - _MOST_NAMED} more" * (len(names) > _MOST_NAMED)
        yield f"{len(names)} {problem}", ", ".join(names[:_MOST_NAMED]) + more


def _name(annotation: Mapping[str, Any]) -> str:
    number = annotation.get("id")
    return f"one of image {annotation['image_id']!r}" if number is None else repr(number)


def _is_empty(annotation: Mapping[str, Any]) -> bool:
    return annotation["bbox"][2] <= 0 or annotation["bbox"][3] <= 0


def _is_outside(box: Sequence[float], size: tuple[int, int]) -> bool:
    x, y, width, height = box
    return min(x, y) < -_ROUNDING or x + width > size[1] + _ROUNDING or y + height > size[0] + _ROUNDING


def _has_bad_polygon(mask: Any) -> bool:
    polygons = mask if isinstance(mask, list) else []
    return any(not isinstance(each, list) or len(each) < 2 * _FEWEST_POINTS or len(each) % 2 for each in polygons)


def _has_other_size(mask: Any, size: tuple[int, int]) -> bool:
    return isinstance(mask, dict) and tuple(mask.get("size", ())) != size


def _objects(
    annotations: Sequence[Mapping[str, Any]], size: tuple[int, int], labels: Mapping[Any, int], *, masks: bool
) -> Objects:
    boxes = np.array([each["bbox"] for each in annotations], dtype=np.float64).reshape(-1, 4)
    start = boxes[:, :2].clip(0, None)
    end = np.minimum(boxes[:, :2] + boxes[:, 2:], [size[1], size[0]])
    inside = np.concatenate([start, end - start], axis=1)
    # Boxes that are inside stay bit for bit what the file says.
    is_cut = (start != boxes[:, :2]).any(axis=1) | (end < boxes[:, :2] + boxes[:, 2:]).any(axis=1)
    boxes = np.where(is_cut[:, None], inside, boxes)
    return Objects(
        size=size,
        boxes=boxes,
        labels=np.array([labels[each["category_id"]] for each in annotations], dtype=np.int64),
        areas=np.array([_area(each) for each in annotations], dtype=np.float64),
        is_crowd=np.array([bool(each.get("iscrowd")) for each in annotations], dtype=bool),
        masks=tuple(each["segmentation"] for each in annotations) if masks else None,
    )


def _area(annotation: Mapping[str, Any]) -> float:
    area, (_, _, width, height) = annotation.get("area"), annotation["bbox"]
    return width * height if area is None else area
