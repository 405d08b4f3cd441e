"""Differences between two trials or two variants of a run: specification, outcome, and surroundings.

For the question why two results differ, so everything equal is left out. Compared are paths of the spec, status, cost,
metrics with their same-seed differences, and the surroundings (device, host, versions, code).
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.store.provenance import read_sessions
from results.store.run import Run
from results.views.columns import flattened
from results.views.diff_operands import DiffOperand
from search_space.parsing.errors import first_of
from search_space.parsing.visible import visible
from search_space.schema.metrics import OF_A_CLASS, metric_named

__all__ = ["Difference", "Differences", "Paired", "format_differences", "run_differences"]

# Fields that differ between sessions without influence on results.
_NOT_SURROUNDINGS = ("session", "started_at", "argv", "cwd", "sweep", "sweep_file", "seeds", "profile", "overrides")

_MOST_CLASSES = 5  # whose names are listed

_PLACE = ("device", "precision", "host")  # unknown for a failed trial
# Besides the place: whether the results were reused, or come from an interrupted and resumed training.
_OWN = (*_PLACE, "cached_from", "resumed_from_epoch")


@dataclass(frozen=True)
class Difference:
    """One difference. `delta` is b - a where both are numbers; `unit` is that of the numbers, if any."""

    name: str
    a: Any
    b: Any
    delta: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Paired:
    """Same-seed differences b - a of a metric; `std` (n - 1) is None for a single or a non-finite difference."""

    metric: str
    unit: str
    by_seed: tuple[tuple[int, float], ...]
    mean: float
    std: float | None


@dataclass(frozen=True)
class Differences:
    """All differences between a and b; `num_same`: number of equal paths of their specs."""

    a: DiffOperand
    b: DiffOperand
    spec: tuple[Difference, ...]
    outcome: tuple[Difference, ...]
    paired: tuple[Paired, ...]
    surroundings: tuple[Difference, ...]
    num_same: int

    @property
    def lacks_pairs(self) -> bool:
        """Whether both have metrics, but for no common seed."""
        seeds = [{record.seed for record in side.records if record.metrics} for side in (self.a, self.b)]
        return bool(seeds[0] and seeds[1] and not seeds[0] & seeds[1])


def run_differences(run: Run, a: DiffOperand, b: DiffOperand) -> Differences:
    """Compare two trials or variants."""
    left, right = (_common(side) for side in (a, b))
    paths = [*left, *(path for path in right if path not in left)]
    spec = tuple(
        Difference(path, left.get(path), right.get(path))
        for path in paths
        if not _same(left.get(path), right.get(path))
    )
    sessions = {one["session"]: one for one in read_sessions(run.files) if isinstance(one.get("session"), str)}
    around = [_surroundings(side, sessions) for side in (a, b)]
    names = [*around[0], *(name for name in around[1] if name not in around[0])]
    surroundings = tuple(
        Difference(name, around[0].get(name), around[1].get(name))
        for name in names
        if around[0].get(name) != around[1].get(name) and (name not in _PLACE or all(name in facts for facts in around))
    )
    return Differences(
        a, b, spec, tuple(_outcome(a, b)), tuple(_paired(a, b)), surroundings, num_same=len(paths) - len(spec)
    )


def format_differences(found: Differences, *, classes: bool = False) -> str:
    """Text of the differences for a terminal.

    Args:
        classes: also those of the accuracy of every class, of which there may be a hundred.
    """
    lines = [f"a: {_title(found.a)}", f"b: {_title(found.b)}"]
    for side in {side.key: side for side in (found.a, found.b) if side.namesakes}.values():
        others = ", ".join(side.namesakes)
        lines.append(f"{visible(side.name)} is {side.key} here; of the same name, and not counted in: {others}")
    lines.append("")
    lines += _block(f"trained ({found.num_same} paths are the same)", found.spec, none="the same specification")
    shown = [each for each in found.outcome if classes or not each.name.startswith(OF_A_CLASS)]
    others = [each for each in found.outcome if each not in shown]
    lines += ["outcome:"] if others and not shown else _block("outcome", shown, none="the same outcome")
    if others:
        names = first_of([visible(each.name.removeprefix(OF_A_CLASS)) for each in others], _MOST_CLASSES)
        lines.append(f"  accuracy of {len(others)} class{'es' if len(others) > 1 else ''}: {names}  (--classes)")
    for paired in found.paired:
        if paired.metric.startswith(OF_A_CLASS) and not classes:
            continue
        seeds = ", ".join(f"{seed}: {value:+.4g}" for seed, value in paired.by_seed)
        spread = "" if paired.std is None else f" +- {paired.std:.3g}"
        number = len(paired.by_seed)
        lines.append(
            f"  {paired.metric}, b - a over {number} common seed{'s' if number > 1 else ''}: "
            f"{paired.mean:+.4g}{spread} {_of_difference(paired.unit)}".rstrip()
            + f"  ({seeds})"
        )
    if found.lacks_pairs:
        lines.append("  no seed in common: the metrics above are of different seeds")
    lines += ["", *_block("surroundings", found.surroundings, none="the same device, host, versions and code")]
    return "\n".join(lines)


def _title(side: DiffOperand) -> str:
    statuses = sorted({record.status for record in side.records})
    number = len(side.records)
    which = f", {number} seed{'s' if number > 1 else ''}" if side.is_variant else f" ({side.key})"
    return f"{visible(side.name)}{which} ({', '.join(statuses)})"


def _block(title: str, differences: Sequence[Difference], *, none: str) -> list[str]:
    if not differences:
        return [f"{title}: {none}" if title == "outcome" or title == "surroundings" else f"trained: {none}"]
    width = max(len(difference.name) for difference in differences)
    lines = [f"{title}:"]
    for difference in differences:
        change = ""
        if difference.delta is not None:
            change = f"  ({difference.delta:+.4g} {_of_difference(difference.unit)}".rstrip() + ")"
        lines.append(f"  {difference.name.ljust(width)}  {_shown(difference.a)} -> {_shown(difference.b)}{change}")
    return lines


def _of_difference(unit: str) -> str:
    """Unit of a difference: points instead of %, because +2 % could be read as relative (92 to 93.8)."""
    return "points" if unit == "%" else unit


def _shown(value: Any) -> str:
    if value is None:
        return "(absent)"
    if isinstance(value, float):
        return f"{value:.6g}"
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True))


def _common(side: DiffOperand) -> dict[str, Any]:
    """Flattened spec; for a variant without the seed, which differs between its trials."""
    flat = flattened(side.records[0].spec)
    if side.is_variant:
        flat.pop("seed", None)
    return flat


def _outcome(a: DiffOperand, b: DiffOperand) -> list[Difference]:
    found = []
    statuses = [", ".join(sorted({record.status for record in side.records})) for side in (a, b)]
    if statuses[0] != statuses[1]:
        found.append(Difference("status", statuses[0], statuses[1]))
    failures = [
        ", ".join(sorted({record.failure.type for record in side.records if record.failure})) for side in (a, b)
    ]
    if failures[0] != failures[1]:
        found.append(Difference("failure", failures[0] or None, failures[1] or None))
    for name, unit in (("params_m", "M"), ("gmacs", "GMACs"), ("train_seconds", "s"), ("epochs", "")):
        found += _changed(name, [_mean(side, lambda record, name=name: getattr(record, name)) for side in (a, b)], unit)
    for name in _metrics(a, b):
        values = [_mean(side, lambda record, name=name: record.metrics.get(name)) for side in (a, b)]
        found += _changed(name, values, _unit(name))
    return found


def _changed(name: str, values: Sequence[float | None], unit: str) -> list[Difference]:
    a, b = values
    if _same(a, b):
        return []
    return [Difference(name, a, b, None if a is None or b is None else b - a, unit)]


def _mean(side: DiffOperand, value_of: Any) -> float | None:
    values = [value for record in side.records if (value := value_of(record)) is not None]
    return _fmean(values) if values else None


def _fmean(values: Sequence[float]) -> float:
    """Arithmetic mean like `statistics.fmean`, but also for infinities of both signs."""
    return statistics.fmean(values) if all(map(math.isfinite, values)) else sum(values) / len(values)


def _same(a: Any, b: Any) -> bool:
    """Equality in which NaN equals NaN."""
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def _metrics(a: DiffOperand, b: DiffOperand) -> list[str]:
    return sorted({name for side in (a, b) for record in side.records for name in record.metrics})


def _unit(name: str) -> str:
    metric = metric_named(name.partition("@")[0].removeprefix("val_"))
    return metric.unit if metric else ""


def _paired(a: DiffOperand, b: DiffOperand) -> list[Paired]:
    """Same-seed differences of final metrics, which only completed trials have."""
    found = []
    for name in _metrics(a, b):
        of_a, of_b = (_by_seed(side, name) for side in (a, b))
        differences = [(seed, of_b[seed] - of_a[seed]) for seed in sorted(of_a.keys() & of_b.keys())]
        if differences and any(value != 0 for _, value in differences):
            numbers = [value for _, value in differences]
            has_spread = len(numbers) > 1 and all(map(math.isfinite, numbers))
            spread = statistics.stdev(numbers) if has_spread else None
            found.append(Paired(name, _unit(name), tuple(differences), _fmean(numbers), spread))
    return found


def _by_seed(side: DiffOperand, metric: str) -> dict[int, float]:
    return {record.seed: record.metrics[metric] for record in side.records if metric in record.metrics}


def _surroundings(side: DiffOperand, sessions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Surroundings of an operand's trials: the common value or, where they differ, all values."""
    each = []
    for record in side.records:
        session = sessions.get(record.session, {})
        facts = {name: value for name, value in session.items() if name not in _NOT_SURROUNDINGS}
        own = {name: value for name in _OWN if (value := getattr(record, name)) not in (None, "")}
        each.append({**own, **flattened(facts)})
    merged: dict[str, Any] = {}
    for name in {name: None for facts in each for name in facts}:
        known = [facts.get(name) for facts in each if name in facts or name not in _PLACE]
        values = {json.dumps(value, sort_keys=True) for value in known}
        merged[name] = known[0] if len(values) == 1 else " or ".join(sorted(values))
    return merged
