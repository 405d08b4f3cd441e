"""timm's RandAugment, AugMix and AutoAugment: which strings it reads in full, and which operations can be carried out.

timm skips parts of a string that it does not know, and some operations refuse an image only when they are drawn, in the
middle of a training; both are found before it.

Posterising to 0 bits, which timm's magnitudes reach (`rand-m9-mstd0.5-inc1` in one of some hundred images), is an error
since Pillow 13. Before, it gave a black image, and that is what published recipes trained with: so it does here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from PIL import Image
from timm.data import create_transform

from search_space.parsing.errors import reason_of

__all__ = ["reason_against_aa", "with_black_posterising"]

_NUMBER = r"\d+(\.\d+)?"
_SECTIONS = {  # first section of the string -> what may follow
    "rand": rf"(m|n|mmax|inc)\d+|(p|mstd){_NUMBER}|t(weights|3a|3aw)",
    "augmix": rf"(m|w|d)\d+|b[01]|(a|mstd){_NUMBER}",
    **dict.fromkeys(("v0", "v0r", "original", "originalr", "3a"), rf"mstd{_NUMBER}"),
}
_HIGHEST = 10
"""timm's highest magnitude, unless `mmax` says otherwise."""
_DEVIATIONS = 4
"""Standard deviations of a random magnitude that are looked at."""
_SIDE = 32


def reason_against_aa(aa: str, in_chans: int) -> str:
    """Why timm cannot augment images of so many channels by this string; empty where it can."""
    first, *sections = aa.split("-")
    if first not in _SECTIONS:
        return f"Unknown AA policy {first}" if first else "it is empty"
    for section in sections:
        if re.fullmatch(_SECTIONS[first], section) is None:
            return f"{section!r} is no section of {first!r}"
    grey: dict[str, Any] = {"mean": (0.5,) * in_chans, "std": (0.5,) * in_chans}
    try:
        stages: Any = create_transform(_SIDE, is_training=True, auto_augment=aa, separate=True, **grey)
    except (AssertionError, IndexError, KeyError, ValueError) as err:
        return reason_of(err)
    image = Image.new("L", (_SIDE, _SIDE), 100) if in_chans == 1 else Image.new("RGB", (_SIDE, _SIDE), (100, 150, 200))
    for operation in _operations(with_black_posterising(stages[1])):
        for magnitude in _magnitudes(operation):
            levels = () if operation.level_fn is None else operation.level_fn(magnitude, operation.hparams)
            try:
                operation.aug_fn(image, *levels, **operation.kwargs)
            except (TypeError, ValueError, OSError) as err:
                return f"its {operation.name} of magnitude {magnitude:g} fails: {reason_of(err)}"
    return ""


def with_black_posterising(transform: Any) -> Any:
    """timm's composed transform, whose posterising to fewer than 1 bit gives a black image."""
    for operation in _operations(transform):
        if operation.name.startswith("Posterize"):
            operation.aug_fn = _Posterise(operation.aug_fn)
    return transform


class _Posterise:
    """timm's posterising, with 0 bits as well; a class, because loaders send transforms to their workers."""

    def __init__(self, of_timm: Any) -> None:
        self._of_timm = of_timm

    def __call__(self, image: Image.Image, bits: int, **options: Any) -> Image.Image:
        return image.point(lambda value: 0) if bits < 1 else self._of_timm(image, bits, **options)


def _operations(transform: Any) -> Iterator[Any]:
    """What a composed transform may draw: of RandAugment and AugMix one list, of AutoAugment one of each policy."""
    for part in transform.transforms:
        for each in getattr(part, "ops", None) or getattr(part, "policy", ()):
            yield from each if isinstance(each, list | tuple) else [each]


def _magnitudes(operation: Any) -> list[float]:
    """The magnitude of an operation, and the lowest and highest that it may draw."""
    highest = operation.magnitude_max or _HIGHEST
    middle, deviation = operation.magnitude, operation.magnitude_std
    if deviation == float("inf"):
        found = [0.0, middle]
    else:
        found = [middle - _DEVIATIONS * deviation, middle, middle + _DEVIATIONS * deviation]
    return sorted({max(0.0, min(each, highest)) for each in found})
