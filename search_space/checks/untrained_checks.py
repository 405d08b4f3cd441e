"""Checks of sweeps in which no row trains (`train.epochs: 0`): options and sections that nothing would use.

Where some rows train, their options belong to these, and the others do not refuse them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from search_space.parsing.type_guards import is_dict
from search_space.schema.pretrained import parse_weights
from search_space.schema.sweep import Sweep
from search_space.schema.trial import TrainSpec
from search_space.settings.candidates import Issue
from search_space.settings.evaluation_relations import MEASURING
from search_space.settings.naming import touched_paths
from search_space.settings.paths import overlap
from search_space.variants.variant import variants

__all__ = ["equal_seeds_issues", "untrained_issues"]

_WHY = "nothing is trained (train.epochs: 0)"
_MOST_ROWS = 5000


def _trains_nothing(sweep: Sweep) -> bool:
    """Whether no row of a sweep can have a training."""
    is_varied = any(overlap(path, "train.epochs") for path in touched_paths(sweep))
    return sweep.baseline.train.epochs == 0 and not is_varied


def untrained_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of options and sections of a sweep that only measures weights; none of others, nor of tasks that cannot,
    which is said once."""
    if not _trains_nothing(sweep) or not sweep.baseline.task.measures_weights:
        return
    yield from _options(sweep)
    if sweep.prune is not None:
        yield Issue(("prune",), f"{_WHY}, so there is no epoch to prune at", "remove `prune`", at_key=True)
    if sweep.retune is not None:
        yield Issue(("retune",), f"{_WHY}, so there is nothing to tune", "remove `retune`", at_key=True)
    if sweep.analysis.selection == "ema":
        yield Issue(("analysis", "selection"), f"{_WHY}, so there is no average of weights", "remove `selection`")


def equal_seeds_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issue of several seeds where nothing is trained and no seed decides the weights: their numbers would be equal,
    and a spread of 0 would look like evidence.

    Args:
        sweep: one whose sections are legal.
    """
    if not _trains_nothing(sweep) or len(sweep.seeds) == 1 or "split" in sweep.baseline.train.seeding.varied:
        return
    settings = [sweep.baseline]
    if sweep.design.name != "search":
        settings = [each.setting for each in itertools.islice(variants(sweep), _MOST_ROWS)]
    sources = [parse_weights(each.arch.weights) for each in settings if each.arch.weights is not None]
    if all(each.kind in ("file", "timm") or each.seed is not None for each in sources):
        message = f"{_WHY} and no seed decides the weights, so {len(sweep.seeds)} seeds would give equal numbers"
        yield Issue(("seeds",), message, "one seed is enough: write  seeds: 1")


def _options(sweep: Sweep) -> Iterator[Issue]:
    """Options of a training, written in the baseline or varied. `recalibrate_bn` is one: it reads training images."""
    of_training = {f"train.{name}" for name in TrainSpec.model_fields if name not in MEASURING}
    of_training |= {f"task.{name}" for name in sweep.baseline.task.training_only}
    # These are refused in every setting.
    of_training -= {"train.steps", "train.head_init_scale", "train.head_init_bias"}
    hint = f"leave it out; of train count {', '.join(name for name in MEASURING if name != 'seeding')}"
    for section in ("train", "task"):
        written = sweep.written_baseline.get(section)
        for name in written if is_dict(written) else ():
            if f"{section}.{name}" in of_training:
                yield Issue(("baseline", section, name), f"{_WHY}, so {name} would have no effect", hint, at_key=True)
    places = [(("space", key), key) for key in sweep.space]
    places += [
        (("design", "rows", index, key), key) for index, row in enumerate(sweep.design.rows) for key in row.changes
    ]
    for place, key in places:
        if key not in ("train", "task") and any(overlap(key, path) for path in of_training):
            yield Issue(place, f"{_WHY}, so {key} would have no effect", hint, at_key=True)
