"""Semantic checks of a well-typed sweep: paths, the values at them, and options that would be ignored."""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Iterator, Sequence
from typing import Any

from search_space.checks.block_checks import block_issues
from search_space.checks.dataset_checks import dataset_issues
from search_space.checks.foreign_checks import foreign_issues
from search_space.checks.published_checks import published_issues
from search_space.checks.section_checks import (
    is_of_a_class,
    issue_of_a_class,
    objective_issues,
    prune_issues,
    retune_issues,
    table_section_issues,
    track_issues,
)
from search_space.checks.seed_checks import seed_issues
from search_space.checks.space_checks import space_issues, value_issues
from search_space.checks.untrained_checks import equal_seeds_issues, untrained_issues
from search_space.designs import rule_of
from search_space.designs.components import placebo_issues
from search_space.parsing.errors import SpecError, did_you_mean
from search_space.parsing.expressions import ExpressionError
from search_space.parsing.type_guards import is_dict
from search_space.schema.metrics import METRICS, RANKED
from search_space.schema.sweep import Sweep
from search_space.schema.task import TASK_SPECS, ForeignSpec
from search_space.settings.candidates import Issue, has_range
from search_space.settings.paths import is_path, path_hint, split
from search_space.settings.training_relations import broken_relations
from search_space.variants.impossible_choices import impossible_choices, impossible_rows, impossible_tuning
from search_space.variants.matching import match_issues
from search_space.variants.per_variant import resources_issues
from search_space.variants.requirements import Requirement
from search_space.variants.variant import MAX_VARIANTS, count_upper, variants

__all__ = ["issues"]

Path = tuple[str | int, ...]
_TRAINING = ("task", "train", "arch.weights")
_OPTIONS_OF_DESIGNS = {
    **dict.fromkeys(("resolution", "generators", "kind"), "fractional"),
    **dict.fromkeys(("orders", "order_seed"), "shapley"),
    **dict.fromkeys(("choosing_seeds", "compare"), "path"),
}
_KINDS = ("task", "task.dataset", "arch.attention")
_OF_THE_TASK = (
    "metric", "analysis", "published", "table", "keep_predictions", "keep_samples", "match", "prune", "search"
)  # fmt: skip


def issues(sweep: Sweep, broken: Sequence[Path] = ()) -> Iterator[Issue]:
    """Semantic issues of a sweep; an iterator, so that a caller can stop at a file with thousands.

    Args:
        sweep: A well-typed sweep.
        broken: Paths that were removed because of their types; issues below them are suppressed.
    """
    is_sound = not broken
    lost = [node for node in _KINDS if _is_lost(node, sweep, broken)]
    for issue in _issues(sweep, broken):
        is_below = any(issue.path[: len(path)] == path for path in broken if path)
        if not is_below and not any(_follows_from(issue, node) for node in lost):
            yield issue
        is_sound = False
    if is_sound:
        found = list(_training(sweep))
        yield from found
        is_sound = not found
    if is_sound:
        yield from _equal_seeds(sweep)
    yield from _requirements(sweep, check_reference=is_sound)


def _is_lost(node: str, sweep: Sweep, broken: Sequence[Path]) -> bool:
    """Whether the kind of a node of the baseline was removed, so that the sweep has the default kind in its place."""
    here: Any = sweep.written_baseline
    for part in node.split("."):
        here = here.get(part) if is_dict(here) else None
    place = ("baseline", *node.split("."))
    inside = [path[len(place) :] for path in broken if path[: len(place)] == place]
    return bool(inside) and (here is None or () in inside or ("name",) in inside)


def _follows_from(issue: Issue, node: str) -> bool:
    """Whether an issue may be there only because the kind of this node is not the one that was meant."""
    section, *rest = issue.path
    if section in ("space", "blocks"):
        return bool(rest) and str(rest[0]).startswith(f"{node}.")
    return node == "task" and section in _OF_THE_TASK


def _issues(sweep: Sweep, broken: Sequence[Path]) -> Iterator[Issue]:
    """Issues of the sections one by one, and of how they fit together."""
    sections = {path[0] for path in broken if path}
    yield from space_issues(sweep)
    yield from _metric(sweep)
    if not any(path[:1] == ("seeds",) for path in broken):  # what was removed would be missed
        yield from [] if "seeds" in sections else seed_issues(sweep)  # what was removed would be missed
    yield from _options(sweep)
    yield from resources_issues(sweep, broken)
    yield from _selection(sweep)
    yield from published_issues(sweep)
    yield from track_issues(sweep)
    yield from table_section_issues(sweep)
    yield from _rows(sweep)
    yield from dataset_issues(sweep)
    yield from () if "blocks" in sections else block_issues(sweep)
    if not any(path[:2] == ("baseline", "task") for path in broken):
        yield from foreign_issues(sweep)
    yield from _predictions(sweep)
    yield from () if "match" in sections else match_issues(sweep)
    yield from () if "retune" in sections else retune_issues(sweep)
    yield from () if "search" in sections else objective_issues(sweep)
    yield from () if sections & {"prune", "seeds"} else prune_issues(sweep)
    if not sections & {"design", "search", "seeds", "space"}:
        yield from untrained_issues(sweep)
        yield from _design(sweep)


def _design(sweep: Sweep) -> Iterator[Issue]:
    name = sweep.design.name
    of_design = list(rule_of(sweep.design).issues(sweep))
    yield from of_design
    if not of_design:
        yield from _size(sweep)
    yield from placebo_issues(sweep)
    if sweep.design.rows and name != "list":
        hint = "remove them, or write  design: {name: list, rows: [...]}"
        yield Issue(("design", "rows"), f"`rows` have no effect in the design {name!r}", hint)
    for option, owner in _OPTIONS_OF_DESIGNS.items():
        if getattr(sweep.design, option) not in (None, ()) and name != owner:
            message = f"`{option}` has no effect in the design {name!r}"
            yield Issue(("design", option), message, f"remove it, or write  name: {owner}", at_key=True)
    if sweep.search is not None and name != "search":
        hint = "remove it, or write  design: search"
        yield Issue(("search",), f"a `search` section has no effect in the design {name!r}", hint, at_key=True)


def _size(sweep: Sweep) -> Iterator[Issue]:
    """Issue of a design with too many rows, by multiplication: enumerating them would take minutes."""
    if sweep.design.name == "search" or any(has_range(parameter) for parameter in sweep.space.values()):
        return
    size = count_upper(sweep)
    if size > MAX_VARIANTS:
        factors = [len(sweep.parameter_choices(key)) for key in sweep.space]
        is_product = sweep.design.name == "factorial" and math.prod(factors) == size - 1
        product = f" ({' x '.join(map(str, factors))} and the baseline)" if is_product else ""
        message = f"the design has {_count(size)} variants{product}, but at most {MAX_VARIANTS:,} are possible"
        yield Issue(("design",), message, "narrow `space`, or let `design: search` sample it")


def _count(size: int) -> str:
    return f"{size:,}" if size < 10**15 else f"about 10^{len(str(size)) - 1}"


def _metric(sweep: Sweep) -> Iterator[Issue]:
    task = sweep.baseline.task
    if is_of_a_class(sweep.metric):
        yield issue_of_a_class(sweep, ("metric",), sweep.metric)
    elif sweep.metric not in METRICS:
        yield Issue(("metric",), f"unknown metric {sweep.metric!r}", did_you_mean(sweep.metric, task.measured))
    elif sweep.metric in RANKED and sweep.metric not in task.measured:
        text = f"the task {task.name!r} has no metric {sweep.metric!r}"
        yield Issue(("metric",), text, f"known: {', '.join(sorted(task.measured))}.")
    elif sweep.metric not in RANKED:
        text = f"{sweep.metric!r} is neither maximised nor minimised, so it cannot rank variants"
        yield Issue(
            ("metric",),
            text,
            f"known: {', '.join(sorted(task.measured))}.  `task.probes` measures it beside the metric",
        )


def _selection(sweep: Sweep) -> Iterator[Issue]:
    place = ("analysis", "selection")
    is_ours = not isinstance(sweep.baseline.task, ForeignSpec)
    if sweep.analysis.selection == "best-val" and is_ours and not sweep.baseline.task.val_fraction:
        yield Issue(place, "'best-val' needs a validation split", "add  task: {val_fraction: 0.1}  to the baseline")
    if sweep.analysis.selection == "ema" and sweep.baseline.train.ema_decay is None:
        yield Issue(place, "'ema' needs averaged weights", "add  train: {ema_decay: 0.999}  to the baseline")


def _predictions(sweep: Sweep) -> Iterator[Issue]:
    task = sweep.baseline.task
    if sweep.keep_predictions and not task.has_right_answers:
        message = f"images of the task {task.name!r} are not simply right or wrong, so there is nothing to keep"
        yield Issue(("keep_predictions",), message, "remove `keep_predictions`")
    if sweep.keep_samples and not task.is_drawn:
        message = f"predictions of the task {task.name!r} cannot be drawn over images, so there is nothing to keep"
        drawn = ", ".join(sorted(name for name, kind in TASK_SPECS.items() if kind.is_drawn))
        yield Issue(("keep_samples",), message, f"remove `keep_samples`; tasks that can be drawn: {drawn}")


def _options(sweep: Sweep) -> Iterator[Issue]:
    """Issues of misspelled keys: any other unknown key is an option of the Optuna pruner or sampler."""
    for section, part in (("prune", sweep.prune), ("search", sweep.search), ("retune", sweep.retune)):
        if part is None:
            continue
        fields = type(part).model_fields
        for key in part.options:
            close = difflib.get_close_matches(
                key, [name for name in fields if name not in part.model_fields_set], 1, 0.8
            )
            if close:
                hint = f"Did you mean {close[0]!r}?"
                yield Issue((section, key), f"unknown key {key!r} in `{section}`", hint, at_key=True)


def _rows(sweep: Sweep) -> Iterator[Issue]:
    for index, row in enumerate(sweep.design.rows):
        place: Path = ("design", "rows", index)
        unknown = [path for path in row.changes if not is_path(path)]
        for path in unknown:
            yield Issue((*place, path), f"unknown path {path!r}", path_hint(path), at_key=True)
        if not unknown:
            yield from value_issues(sweep, row.changes, {path: (*place, path) for path in row.changes})


def _training(sweep: Sweep) -> Iterator[Issue]:
    """Issues of relations between training options, in the baseline, in every value and in the rows of the design."""
    for broken in broken_relations(sweep.baseline):
        yield Issue(("baseline", *split(broken.path)), broken.message, broken.hint)
    single = list(impossible_choices(sweep, broken_relations, _TRAINING))
    yield from single
    yield from impossible_tuning(sweep, broken_relations, _TRAINING)
    yield from impossible_rows(sweep, broken_relations, _TRAINING, single)


def _equal_seeds(sweep: Sweep) -> Iterator[Issue]:
    with contextlib.suppress(SpecError, ExpressionError):  # reported with the plan, and with the requirements
        yield from equal_seeds_issues(sweep)


def _requirements(sweep: Sweep, *, check_reference: bool) -> Iterator[Issue]:
    reference: Any = None
    if check_reference and sweep.design.name != "search" and sweep.require:
        reference = next(variants(sweep))
    for index, text in enumerate(sweep.require):
        try:
            requirement = Requirement.parse(text)
        except ExpressionError as err:
            shown = text if len(text) <= 60 else text[:57] + "..."
            yield Issue(("require", index), f"{shown!r} is not a requirement: {err.message}", err.hint)
            continue
        if reference is not None and not requirement.costs:
            reason = requirement.unmet(reference.setting, None)
            if reason:
                message = f"the reference variant {reference.name!r} itself does not meet it: {reason}"
                yield Issue(("require", index), message, "all differences refer to this variant, so it must be trained")
