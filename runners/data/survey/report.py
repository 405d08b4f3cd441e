"""Survey of a dataset as lines of text, and as plain values for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from runners.data.survey.result import SplitSurvey, Survey

__all__ = ["survey_as_json", "survey_lines"]

_MOST_CLASSES = 20
_MOST_SIZES = 3


def survey_lines(survey: Survey) -> Iterator[str]:
    """The survey as text: one table of the splits, one of the classes, and the notes."""
    yield survey.name
    sizes = "sizes (high x wide)" if survey.unit == "images" else "sizes (1 x words)"
    rows = [("", survey.unit, "classes", "most frequent", sizes)]
    rows += [_row(role, split) for role, split in (("train", survey.train), ("test", survey.test))]
    yield from _aligned(rows)
    if survey.info.num_val:
        yield f"  validation: {survey.info.num_val} of the training {survey.unit} are held out"
    height, width = survey.info.img_size
    if survey.unit == "images":
        yield f"  images are read as {height} x {width}, {'grey' if survey.info.in_chans == 1 else 'in colours'}"
    else:
        yield f"  texts are read as at most {width} of {survey.info.vocabulary} tokens"
    if shared := survey.duplicates:
        yield f"  in both splits: {shared.test} of the test {survey.unit}, {shared.train} of the training {survey.unit}"
        within = f"{shared.within_train} training {survey.unit}, {shared.within_test} test {survey.unit}"
        one = "an image" if survey.unit == "images" else "a text"
        yield f"  repeats of {one} of the same split: {within}"
    if survey.train.counts:
        yield from _aligned([("class", "train", "test"), *_classes(survey)])
    for note in survey.notes:
        yield f"  note: {note}"


def survey_as_json(survey: Survey) -> dict[str, Any]:
    """The survey as plain values; `null` for what was not looked at."""
    shared = survey.duplicates
    return {
        "dataset": survey.name,
        "num_classes": survey.info.num_classes,
        "class_names": list(survey.class_names),
        "splits": {"train": _split(survey.train), "test": _split(survey.test)},
        "validation_images": survey.info.num_val,
        "image_size": list(survey.info.img_size),
        "duplicates": None if shared is None else {"train": shared.train, "test": shared.test, "pairs": shared.pairs},
        "notes": list(survey.notes),
    }


def _split(split: SplitSurvey) -> dict[str, Any]:
    return {
        "name": split.name,
        "images": split.images,
        "counts": list(split.counts) or None,
        "majority": split.majority,
        "sizes": [[*size, count] for size, count in split.sizes.most_common()],
    }


def _row(role: str, split: SplitSurvey) -> tuple[str, ...]:
    share = "" if split.majority is None else f"{100 * split.majority:.1f} %"
    name = f"{role} ({split.name})" if split.name and split.name != role else role
    return name, str(split.images), str(split.classes) if split.counts else "", share, _sizes(split.sizes)


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    if not sizes:
        return ""
    if len(sizes) <= _MOST_SIZES:
        return ", ".join(f"{h} x {w}" + (f" ({n})" if len(sizes) > 1 else "") for (h, w), n in sizes.most_common())
    heights, widths = [h for h, _ in sizes], [w for _, w in sizes]
    return f"{min(heights)} to {max(heights)} x {min(widths)} to {max(widths)}"


def _classes(survey: Survey) -> Iterator[tuple[str, ...]]:
    for label, (train, test) in enumerate(zip(survey.train.counts, survey.test.counts, strict=True)):
        if label == _MOST_CLASSES:
            yield f"and {len(survey.train.counts) - _MOST_CLASSES} more", "", ""
            return
        name = survey.class_names[label] if label < len(survey.class_names) else ""
        yield f"{label} {name}".rstrip(), str(train), str(test)


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = row
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield f"  {first.ljust(widths[0])}  {'  '.join(cells)}".rstrip()
