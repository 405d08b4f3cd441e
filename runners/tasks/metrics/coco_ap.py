"""Average precision of detected boxes and masks as COCO measures it, by faster-coco-eval.

Definition:  mean over categories, and over IoU thresholds 0.50, 0.55, ..., 0.95, of the precision interpolated at 101
             recalls, from at most 100 detections per image and category; objects by area: small below 32^2 pixels,
             large above 96^2.
Source:      faster-coco-eval (numpy only); every golden case agrees with pycocotools 2.0.11 to 1e-12.

Traps of the evaluators that cannot happen here: annotations are renumbered from 1 (both lose one with id 0: an exact
match counts as a miss and a false alarm), missing areas are those of the boxes and missing `iscrowd` is 0, image ids
may be of any kind, no detection at all is AP 0, masks are compared without boxes beside them (which would decide the
area), and a score that is not a number is refused. Equal scores rank in the order of the images and of the detections
in them. -1, which means that there is no object to find, is left out.

Shapes:  N detections in one image.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from runners.data.detection.objects import Objects
from search_space.parsing.errors import Problem, SpecError

__all__ = ["Detections", "average_precision", "require_evaluator"]

_INSTALL = "pip install 'archsweep[dense]'"


@dataclass(frozen=True)
class Detections:
    """Detections in one image.

    Attributes:
        boxes: x, y, width, height in pixels, (N, 4).
        labels: (N,) integers.
        scores: (N,).
        masks: compressed RLE, N of them; None: boxes only.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: tuple[Any, ...] | None = None


def require_evaluator() -> None:
    """Raise SpecError, with what to install, if faster-coco-eval is missing."""
    try:
        import faster_coco_eval  # noqa: F401  # pyright: ignore[reportMissingImports]  # an optional extra
    except ImportError as err:
        message = "detection is measured by faster-coco-eval, which is not installed"
        raise SpecError(Problem(message, path="task.name", hint=f"install it by {_INSTALL}")) from err


def average_precision(
    truth: Mapping[Any, Objects], found: Mapping[Any, Detections], *, of: Literal["boxes", "masks"]
) -> dict[str, float]:
    """`AP`, `AP50`, `AP_small`, ..., `AR_1`, ..., and `AP/7` of category 7, from 0 to 1; undefined ones are absent.

    Args:
        truth: all images by ids of any kind, also those without objects; their order ranks detections of equal score.
        found: detections by the same ids; images without any may be absent.

    Raises:
        SpecError: faster-coco-eval is missing.
        ValueError: detections of an image that is not in `truth`, or scores that are not finite.
    """
    require_evaluator()
    _check(truth, found)
    from faster_coco_eval import COCO, COCOeval_faster  # pyright: ignore[reportMissingImports]  # an optional extra

    number = {image: at for at, image in enumerate(truth, start=1)}
    categories = sorted({int(label) for each in [*truth.values(), *found.values()] for label in each.labels})
    if not categories:
        return {}
    quiet: dict[str, Any] = {"print_function": lambda *words: None}
    known = COCO(
        {
            "images": [
                {"id": number[image], "height": each.size[0], "width": each.size[1]} for image, each in truth.items()
            ],
            "annotations": list(_annotations(truth, number, of)),
            "categories": [{"id": label, "name": str(label)} for label in categories],
        }
    )
    evaluator = COCOeval_faster(
        known, known.loadRes(list(_results(found, number, of))), "bbox" if of == "boxes" else "segm", **quiet
    )
    # An IoU needs microseconds; threads would only compete with those of the other processes of this machine.
    evaluator.rle_iou_max_workers = 1
    evaluator.evaluate()
    evaluator.accumulate()
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.summarize()
    return {name: value for name, value in _named(evaluator, categories) if value >= 0}


def _check(truth: Mapping[Any, Objects], found: Mapping[Any, Detections]) -> None:
    for image, each in found.items():
        if image not in truth:
            raise ValueError(f"detections in the image {image!r}, which is not among the {len(truth)} images")
        if wrong := int((~np.isfinite(each.scores)).sum()):
            raise ValueError(f"{wrong} of {len(each.scores)} scores in the image {image!r} are not finite")


def _annotations(truth: Mapping[Any, Objects], number: Mapping[Any, int], of: str) -> Iterator[dict[str, Any]]:
    next_id = 1
    for image, each in truth.items():
        areas = np.prod(np.asarray(each.boxes, dtype=float).reshape(-1, 4)[:, 2:], axis=1)
        areas = areas if each.areas is None else each.areas
        crowds = np.zeros(len(each.labels)) if each.is_crowd is None else each.is_crowd
        for at, label in enumerate(each.labels):
            annotation = {"id": next_id, "image_id": number[image], "category_id": int(label)}
            annotation |= {"bbox": _floats(each.boxes[at]), "area": float(areas[at]), "iscrowd": int(crowds[at])}
            if of == "masks":
                assert each.masks is not None, "masks are compared with masks"
                annotation["segmentation"] = each.masks[at]
            yield annotation
            next_id += 1


def _results(found: Mapping[Any, Detections], number: Mapping[Any, int], of: str) -> Iterator[dict[str, Any]]:
    for image in sorted(found, key=number.__getitem__):
        each = found[image]
        for at, label in enumerate(each.labels):
            result = {"image_id": number[image], "category_id": int(label), "score": float(each.scores[at])}
            if of == "boxes":
                yield result | {"bbox": _floats(each.boxes[at])}
            else:
                assert each.masks is not None, "masks are compared with masks"
                yield result | {"segmentation": each.masks[at]}


def _named(evaluator: Any, categories: list[int]) -> Iterator[tuple[str, float]]:
    stats = evaluator.stats_as_dict
    for name in ("50", "75", "small", "medium", "large"):
        yield f"AP{name}" if name.isdigit() else f"AP_{name}", float(stats[f"AP_{name}"])
    yield "AP", float(stats["AP_all"])
    for name, key in (("1", "AR_all"), ("10", "AR_second"), ("100", "AR_third")):
        yield f"AR_{name}", float(stats[key])
    for name in ("small", "medium", "large"):
        yield f"AR_{name}", float(stats[f"AR_{name}"])
    # Precision by threshold, recall, category, area range (0: all), limit of detections (-1: 100).
    precision = np.asarray(evaluator.eval["precision"])[:, :, :, 0, -1]
    for at, label in enumerate(categories):
        yield f"AP/{label}", float(precision[:, :, at].mean())


def _floats(box: np.ndarray) -> list[float]:
    return [float(value) for value in box]
