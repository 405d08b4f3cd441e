"""Predictions on some test images: ground truth, baseline and arms below each other, on the same images.

Read from `trials/<id>/samples.npz`, of one trial of each variant: its first completed seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from results.figures.figure import Evidence, Figure, Picture, labels
from results.figures.pictures.cells import occurring_labels
from results.figures.pictures.class_colours import NUM_COLOURS
from results.figures.pictures.grid import Cell, GridRow, draw_grid
from results.predictions.samples import LabelMap, Objects, OneClass, Sample, Samples
from results.predictions.samples_file import UnreadableSamples, read_samples
from results.store.records import TrialRecord
from results.table.table import AblationTable, Row

__all__ = ["draw", "picture_of_trial"]

_MOST_ARMS = 8
_MOST_IMAGES = 6
_TRUTH = "ground truth"
_WHAT = {
    "one_class": "Top-1 class and its probability; the frame of a right one is solid, of a wrong one dashed.",
    "label_map": "Class of every pixel, drawn over the image.",
    "objects": "Boxes, and masks where the detector has them, of objects with a score of at least {least:g}.",
}


def picture_of_trial(samples: Samples, name: str) -> str:
    """SVG of what one trial kept: the truth, and its predictions below."""
    columns = _spread(samples.samples)
    rows = [GridRow("image", "", [Cell(sample, None) for sample in columns])] if samples.kind == "label_map" else []
    rows.append(GridRow(_TRUTH, "", [Cell(sample, sample.truth) for sample in columns]))
    rows.append(GridRow(name, "", [Cell(sample, sample.prediction) for sample in columns]))
    return draw_grid(rows, columns, kind=samples.kind, names=samples.names, ignored=samples.ignored)


@dataclass(frozen=True)
class _Kept:
    """One variant: its trial, and what that kept or why nothing of it is drawn."""

    name: str
    record: TrialRecord | None
    samples: Samples | None
    reason: str = ""


def draw(evidence: Evidence) -> Figure | None:
    """Draw the figure; None where no trial of the variants that are drawn has kept samples (`keep_samples`)."""
    rows = sorted(evidence.table.rows, key=lambda row: not row.is_baseline)[: _MOST_ARMS + 1]
    names = labels(evidence.table.rows)
    kept = [_kept(evidence, row, names[row.study, row.variant_id]) for row in rows]
    first = next((each.samples for each in kept if each.samples is not None and each.samples.samples), None)
    if first is None:
        return None
    kept = [each if _is_alike(each, first) else _Kept(each.name, each.record, None, "other kind") for each in kept]
    columns = _spread(first.samples)
    shown = [each.samples for each in kept if each.samples is not None]
    return Figure(
        name="samples",
        title="Predictions on test images",
        caption=f"{_WHAT[first.kind].format(least=first.least_score)} The same images of the test split for every "
        "variant, evenly spread over it and not chosen; one trial of each variant after its last epoch.",
        frame=_frame(kept, first),
        chart=Picture(_picture(evidence.table, kept, first, columns)),
        notes=tuple(_notes(evidence.table, kept, first, columns, shown)),
    )


def _kept(evidence: Evidence, row: Row, name: str) -> _Kept:
    """Samples of the first completed trial of a row."""
    record = next((each for each in row.records if each.status == "completed"), None)
    if record is None:
        return _Kept(name, None, None, "no completed trial")
    path = evidence.run.files.trial(Path(record.trial_id).name).samples
    if not path.is_file():
        return _Kept(name, record, None, "none kept")
    try:
        return _Kept(name, record, read_samples(path))
    except UnreadableSamples:
        return _Kept(name, record, None, "not readable")


def _is_alike(each: _Kept, first: Samples) -> bool:
    return each.samples is None or each.samples.kind == first.kind


def _spread(samples: Sequence[Sample]) -> list[Sample]:
    """At most as many samples as a picture has columns, evenly spread."""
    num = min(len(samples), _MOST_IMAGES)
    return [samples[index * len(samples) // num] for index in range(num)]


def _picture(table: AblationTable, kept: Sequence[_Kept], first: Samples, columns: Sequence[Sample]) -> str:
    rows = [GridRow(_TRUTH, "", [Cell(sample, sample.truth) for sample in columns])]
    if first.kind == "label_map":  # elsewhere the image is in grey
        rows.insert(0, GridRow("image", "", [Cell(sample, None) for sample in columns]))
    names: dict[int, str] = {}
    for each in kept:
        found = {sample.position: sample for sample in each.samples.samples} if each.samples else {}
        cells = [
            Cell(found[column.position], found[column.position].prediction)
            if column.position in found
            else each.reason or "not kept"
            for column in columns
        ]
        rows.append(GridRow(each.name, _remark(table, each), cells))
        names = {**(each.samples.names if each.samples else {}), **names}
    return draw_grid(rows, columns, kind=first.kind, names=names, ignored=first.ignored)


def _remark(table: AblationTable, each: _Kept) -> str:
    """Seed and metric of the trial that is drawn."""
    if each.record is None:
        return ""
    value = each.record.metrics.get(table.metric.name)
    shown = "" if value is None else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
    return f"seed {each.record.seed}" + (f": {table.metric.name} {shown}" if shown else "")


def _notes(
    table: AblationTable, kept: Sequence[_Kept], first: Samples, columns: Sequence[Sample], shown: Sequence[Samples]
) -> Iterator[str]:
    if len(table.rows) > len(kept):
        yield f"The first {len(kept)} of {len(table.rows)} variants are drawn."
    if len(columns) < len(first.samples):
        yield f"{len(columns)} of the {len(first.samples)} images that are kept are drawn; the CSV holds all."
    broken = [each.name for each in kept if each.reason in ("not readable", "other kind")]
    if broken:
        yield f"Samples that are not readable, or not of this task, and left blank: {', '.join(broken)}."
    if first.kind != "one_class":
        drawn = [each for one in shown for sample in one.samples for each in (sample.truth, sample.prediction)]
        num = len({label for each in drawn for label in occurring_labels(each, first.ignored)})
        if num > NUM_COLOURS:
            yield f"{num} classes occur and there are {NUM_COLOURS} colours, so that colours repeat."


def _frame(kept: Sequence[_Kept], first: Samples) -> pd.DataFrame:
    """One line for each image of a variant; of objects one for each of them, those of the truth included."""
    lines = []
    if first.kind == "objects":
        for sample in first.samples:
            assert isinstance(sample.truth, Objects)
            lines += [{"variant": _TRUTH, "image": sample.position} | line for line in _of_objects(sample.truth, first)]
    for each in kept:
        if each.samples is None or each.record is None:
            continue
        for sample in each.samples.samples:
            place = {"variant": each.name, "seed": each.record.seed, "image": sample.position}
            lines += [place | line for line in _of_sample(sample, each.samples)]
    columns = {
        "one_class": ("true_class", "class", "probability"),
        "label_map": ("right_pixels", "counted_pixels"),
        "objects": ("class", "score", "left", "top", "right", "bottom", "mask_pixels"),
    }[first.kind]
    # As objects: the truth has no seed, which would make numbers with a point of all others.
    return pd.DataFrame(lines, columns=["variant", "seed", "image", *columns], dtype=object)


def _of_sample(sample: Sample, samples: Samples) -> Iterator[dict[str, object]]:
    truth, found = sample.truth, sample.prediction
    if isinstance(truth, OneClass) and isinstance(found, OneClass):
        classes = {"true_class": _name(samples, truth.label), "class": _name(samples, found.label)}
        yield {**classes, "probability": found.probability}
    elif isinstance(truth, LabelMap) and isinstance(found, LabelMap):
        is_counted = truth.labels != samples.ignored
        is_right = (truth.labels == found.labels) & is_counted
        yield {"right_pixels": int(is_right.sum()), "counted_pixels": int(is_counted.sum())}
    elif isinstance(found, Objects):
        yield from _of_objects(found, samples)


def _of_objects(found: Objects, samples: Samples) -> Iterator[dict[str, object]]:
    sides = ("left", "top", "right", "bottom")
    for index, label in enumerate(found.labels.tolist()):
        score = float(found.scores[index])
        of_mask = {"mask_pixels": None if found.masks is None else int(found.masks[index].sum())}
        box = dict(zip(sides, found.boxes[index].tolist(), strict=True))
        yield {"class": _name(samples, label), "score": score if np.isfinite(score) else None, **box, **of_mask}


def _name(samples: Samples, label: int) -> str:
    return samples.names.get(label, f"class {label}")
