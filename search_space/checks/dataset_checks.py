"""Checks of the test set: that a design does not vary it.

An accuracy on one test set minus that on another means nothing.
All differences of a table refer to one baseline, so every variant must be measured on the images of the baseline.
Legal are other training data (`train_split`, `num_train`, `val_fraction`) and other sizes (`arch.img_size`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from search_space.parsing.type_guards import is_dict
from search_space.schema.parameters import Choice, Component, Range
from search_space.schema.sweep import Sweep
from search_space.schema.trial import Setting
from search_space.settings.candidates import Issue
from search_space.settings.naming import format_value
from search_space.settings.paths import is_path, lay_together, overlap

__all__ = ["dataset_issues"]

_DATASET = "task.dataset"
_HINT = (
    "run one study per dataset, each with its own baseline: name one dataset in the baseline, and the others in\n"
    "profiles: {other: {task.dataset: ...}}  for  --profile other;\n"
    "or take differences within each dataset: move it from `space` to  blocks: {task.dataset: [...]}"
)
Place = tuple[str | int, ...]


def dataset_issues(sweep: Sweep) -> Iterator[Issue]:
    """Values of the space and rows of the design that are measured on another test set than the baseline."""
    if sweep.design.name == "search":  # no differences, and no baseline
        return
    reference = _test_set(sweep.baseline)
    for place, values in _assignments(sweep):
        path = next((path for path in values if is_path(path) and overlap(path, _DATASET)), None)
        setting = _setting(sweep, values) if path is not None else None
        if setting is None or (found := _test_set(setting)) == reference:
            continue
        message = (
            f"is measured on another test set than the baseline ({_shown(found)} instead of {_shown(reference)}), "
            f"and the design {sweep.design.name!r} takes their difference"
        )
        yield Issue(place, message, _HINT)


def _test_set(setting: Setting) -> Mapping[str, Any]:
    """What decides which images the trial is measured on."""
    task = setting.task
    return {**task.evaluation(), **({} if task.name == "classification" else {"task": task.name})}


def _shown(test_set: Mapping[str, Any]) -> str:
    name, *options = test_set.items()
    text = ", ".join(f"{key}={format_value(value)}" for key, value in options)
    return f"{name[1]} with {text}" if text else str(name[1])


def _assignments(sweep: Sweep) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Every value of the space and every row, as paths and values with the place in the file."""
    for key, parameter in sweep.space.items():
        place: Place = ("space", key)
        if isinstance(parameter, Component):
            for side, value in (("off", parameter.off), ("on", parameter.on)):
                yield (*place, side), value if is_dict(value) and not is_path(key) else {key: value}
        elif not isinstance(parameter, Range):
            yield from _choices(place, key, parameter, {})
    for index, row in enumerate(sweep.design.rows):
        places = [("design", "rows", index, path) for path in row.changes if overlap(path, _DATASET)]
        yield (places or [("design", "rows", index)])[0], row.changes


def _choices(
    place: Place, path: str, choices: Sequence[Choice], above: Mapping[str, Any]
) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    for index, choice in enumerate(choices):
        values = {**above, path: choice.value}
        yield (*place, index), values
        for relative, inner in choice.with_.items():
            if not isinstance(inner, Range | Component):
                yield from _choices((*place, index, "with", relative), f"{path}.{relative}", inner, values)


def _setting(sweep: Sweep, values: Mapping[str, Any]) -> Setting | None:
    """The baseline with these values; None where they are no setting, which other checks report."""
    known = {path: value for path, value in values.items() if is_path(path)}
    try:
        return Setting.model_validate(lay_together(sweep.written_baseline, known), strict=True)
    except ValidationError:
        return None
