"""Checks of `blocks`: their path and values, and what a design with blocks does not go together with.

What would compare trials across blocks, or test folds as if they were independent, is refused here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from search_space.checks.space_checks import value_issues
from search_space.parsing.type_guards import is_dict
from search_space.schema.identity import variant_id
from search_space.schema.sweep import Sweep
from search_space.schema.tracking import OptunaSpec
from search_space.schema.trial import Setting
from search_space.settings.candidates import Issue
from search_space.settings.naming import touched_paths
from search_space.settings.paths import is_path, lay_together, leaf_paths, overlap, path_hint
from search_space.variants.blocks import are_resampled, blocks_of

__all__ = ["block_issues"]

_OF_ONE_DATASET = "task.dataset"
_SELECTIONS = ("best_val", "ema")  # of a metric, as in `top1@ema`


def block_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of the section `blocks`."""
    if not sweep.blocks:
        return
    if len(sweep.blocks) > 1:
        first, second, *_ = sweep.blocks
        hint = f"what else differs in a block goes into it: {{value: ..., also: {{{second}: ...}}}}"
        yield Issue(("blocks", second), f"blocks have one path, and that is {first!r}", hint, at_key=True)
    is_sound = True
    for path in sweep.blocks:
        for issue in _values(sweep, path):
            is_sound = False
            yield issue
    if is_sound and len(sweep.blocks) == 1:
        yield from _names(sweep)
        yield from _resampled(sweep)
    yield from _refused(sweep)


def _values(sweep: Sweep, path: str) -> Iterator[Issue]:
    """Issues of the path, and of the values of every block together with what it brings along."""
    if not is_path(path):
        yield Issue(("blocks", path), f"unknown path {path!r}", path_hint(path), at_key=True)
        return
    varied = touched_paths(sweep)
    if (twin := next((other for other in sorted(varied) if overlap(path, other)), None)) is not None:
        message = f"{path!r} is also varied by the sweep{f' ({twin!r})' if twin != path else ''}"
        yield Issue(
            ("blocks", path), message, "remove it here or there: a block is the same for all variants", at_key=True
        )
        return
    seen: dict[str, int] = {}
    for index, block in enumerate(sweep.blocks[path]):
        place = ("blocks", path, index)
        if path in leaf_paths() and is_dict(block.value) and set(block.value) <= {"name", "also"}:
            yield Issue(place, "has no `value`", "write  {value: ..., name: ...}")
            continue
        wrong = list(_also(sweep, path, index, varied))
        yield from wrong
        if wrong:
            continue
        values = {path: block.value, **block.also}
        places = {path: place, **{other: (*place, "also", other) for other in block.also}}
        faults = list(value_issues(sweep, values, places))
        yield from faults
        if faults:
            if any(fault.at_key for fault in faults):
                return  # the path does not exist in this baseline; its other values would repeat the issue
            continue
        setting = Setting.model_validate(lay_together(sweep.written_baseline, values), strict=True)
        if setting.task.name != sweep.baseline.task.name:
            message = f"is of the task {setting.task.name!r}, and the baseline of {sweep.baseline.task.name!r}"
            yield Issue(place, message, "blocks have one task, because their differences are of one metric")
            continue
        identity = variant_id(setting)
        if identity in seen:
            yield Issue(place, f"is the same as block {seen[identity] + 1} of this list", "remove one of them")
        seen.setdefault(identity, index)


def _also(sweep: Sweep, path: str, index: int, varied: set[str]) -> Iterator[Issue]:
    for other in sweep.blocks[path][index].also:
        place = ("blocks", path, index, "also", other)
        if not is_path(other):
            yield Issue(place, f"unknown path {other!r}", path_hint(other), at_key=True)
        elif overlap(other, path):
            yield Issue(place, f"{other!r} and {path!r} overlap", "write it into the value of the block", at_key=True)
        elif any(overlap(other, one) for one in varied):
            hint = "a block is the same for all variants"
            yield Issue(place, f"{other!r} is also varied by the sweep", hint, at_key=True)


def _names(sweep: Sweep) -> Iterator[Issue]:
    ((path, blocks),) = sweep.blocks.items()
    counts = Counter(block.name for block in blocks_of(sweep))
    for index, block in enumerate(blocks_of(sweep)):
        place = ("blocks", path, index, *(("name",) if blocks[index].name is not None else ()))
        if counts[block.name] > 1:
            yield Issue(place, f"the name {block.name!r} is that of several blocks", "give each its own `name`")
        elif block.name in _SELECTIONS or "," in block.name:
            hint = "give the block another `name`, without a comma, and not best_val or ema"
            yield Issue(place, f"{block.name!r} cannot be part of a column's name", hint)


def _resampled(sweep: Sweep) -> Iterator[Issue]:
    """Folds and random splits are those of one dataset: else training splits do not overlap as the test assumes."""
    if not are_resampled(sweep):
        return
    (path,) = sweep.blocks
    for other in sorted(touched_paths(sweep)):
        if overlap(other, _OF_ONE_DATASET):
            message = f"the blocks are splits of one dataset, and {other!r} varies it"
            yield Issue(("blocks", path), message, "vary nothing of the dataset beside its splits", at_key=True)
    for index, block in enumerate(sweep.blocks[path]):
        for other in block.also:
            message = "they differ in their images alone: the test takes their training splits for parts of one whole"
            yield Issue(("blocks", path, index, "also", other), message, "remove `also`", at_key=True)


def _refused(sweep: Sweep) -> Iterator[Issue]:
    """Sections that would compare trials of different blocks, or whose tests do not fit blocks."""
    analysis = sweep.analysis
    if sweep.design.name == "search":
        message = "a search has no blocks: its sampler would compare suggestions that were measured in different ones"
        yield Issue(("blocks",), message, "choose another design, or search in one block", at_key=True)
    sections = {
        "prune": (sweep.prune, "a pruner compares a trial with those of other blocks"),
        "retune": (sweep.retune, "every variant would be tuned in each block by itself, not once"),
        "match": (sweep.match, "a variant would be matched in each block by itself, and be another one in each"),
    }
    for name, (section, reason) in sections.items():
        if section is not None:
            message = f"`{name}` does not go together with `blocks`: {reason}"
            yield Issue((name,), message, f"remove `{name}` or `blocks`", at_key=True)
    for index, tracker in enumerate(sweep.track):
        if isinstance(tracker, OptunaSpec):
            message = "the tracker 'optuna' does not go together with `blocks`: a study compares all of its trials"
            yield Issue(("track", index), message, "choose another tracker")
    if sweep.design.name == "fractional":
        message = "the design 'fractional' has no blocks here: its effects are estimated from independent trials"
        yield Issue(("blocks",), message, "choose another design, or one block for each run", at_key=True)
    if sweep.design.name == "shapley":
        message = "the design 'shapley' has no blocks here: its values are computed for every seed, of one data split"
        yield Issue(("blocks",), message, "choose another design, or one block for each run", at_key=True)
    if sweep.keep_predictions:
        message = "`keep_predictions` does not go together with `blocks`: its error is that of one test split"
        yield Issue(("keep_predictions",), message, "remove `keep_predictions` or `blocks`", at_key=True)
    if analysis.correction == "dunnett":
        reason = (
            "splits share training images, and Dunnett's test needs independent pairs"
            if are_resampled(sweep)
            else "its test pools the variances of all blocks, and blocks of different kind do not share one"
        )
        message = f"the correction 'dunnett' does not go together with `blocks`: {reason}"
        yield Issue(("analysis", "correction"), message, "choose holm, bh or none")
    if not are_resampled(sweep):
        if analysis.margin is not None:
            message = (
                "a margin needs an interval of the mean over the blocks, which blocks of different kind do not have"
            )
            yield Issue(("analysis", "margin"), message, "remove `margin`", at_key=True)
        if analysis.interval == "simultaneous":
            message = "intervals are those of each block by itself: blocks of different kind have none for all of them"
            yield Issue(("analysis", "interval"), message, "remove `interval`")
        if sweep.published:
            message = "published numbers are of one block, and the rows of the table are means over the blocks"
            yield Issue(
                ("published",), message, "remove `published`, or show them in the table of one block", at_key=True
            )
