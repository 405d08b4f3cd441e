"""Grouping of runs: which keys are the configuration, which runs are seeds of one variant, and which is the baseline.

Keys that differ in every run (ids, paths, times) describe runs and no variants; they are left out and named. Where all
runs have one seed, what was varied may differ in every run, too, so nothing is left out then.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runners.imports.source_run import SourceRun, value_of_text
from search_space.parsing.errors import Problem, SpecError, did_you_mean, first_of
from search_space.settings.naming import format_value

__all__ = ["Choice", "Duplicates", "Group", "Grouped", "Grouping", "described", "group_runs"]

Duplicates = Literal["error", "first", "last"]
_MOST = 12


@dataclass(frozen=True)
class Choice:
    """What the user says of the grouping.

    Attributes:
        config: the keys that are the configuration; None: all but those left out.
        ignore: keys that are not.
        baseline: `lr=0.1,depth=4`, a row's name or a value that only one group has; None: the first group.
    """

    seed: str
    config: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    baseline: str | None = None
    duplicates: Duplicates = "error"


@dataclass(frozen=True)
class Grouped:
    """A run with its seed."""

    run: SourceRun
    seed: int


@dataclass(frozen=True)
class Group:
    """A variant: its configuration, what of it differs from the baseline, and its runs by seed."""

    name: str
    config: Mapping[str, Any]
    changes: Mapping[str, Any]
    runs: Mapping[int, SourceRun]


@dataclass(frozen=True)
class Grouping:
    """The groups, the baseline first, then as in the source; and what was decided on the way.

    Attributes:
        varying: keys in which groups differ.
        left_out: keys that differ in every run.
        dropped: runs that `duplicates` left out.
    """

    groups: tuple[Group, ...]
    varying: tuple[str, ...]
    left_out: tuple[str, ...]
    dropped: tuple[SourceRun, ...]

    @property
    def baseline(self) -> Group:
        return self.groups[0]


def group_runs(runs: Sequence[SourceRun], choice: Choice) -> Grouping:
    """Group the runs by their configuration.

    Raises:
        SpecError: with all problems of one stage: keys and seeds; then runs of one variant and seed; then the baseline.
    """
    keys = list(dict.fromkeys(key for run in runs for key in run.config))
    problems = list(_key_problems(keys, choice))
    seeds: list[int | None] = []
    if choice.seed in keys:
        for run in runs:
            seed = run.config.get(choice.seed)
            is_seed = isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0
            seeds.append(seed if is_seed else None)
            if not is_seed:
                came = "has no seed" if seed is None else f"its seed is {seed!r}, no whole number from 0 on"
                problems.append(Problem(f"{came} ({choice.seed})", where=run.where))
    if problems:
        raise SpecError(problems)
    found = [Grouped(run, seed) for run, seed in zip(runs, seeds, strict=True) if seed is not None]
    kept, left_out = _kept_keys(found, keys, choice)
    configs: dict[str, dict[str, Any]] = {}
    members: dict[str, list[Grouped]] = {}
    for each in found:
        config = {key: each.run.config.get(key) for key in kept}
        content = _content(config)
        configs.setdefault(content, config)
        members.setdefault(content, []).append(each)
    varying = tuple(key for key in kept if len({_content(config[key]) for config in configs.values()}) > 1)
    _check_groups(members, left_out, varying, configs)
    by_seed, dropped = _by_seed(members, choice.duplicates)
    base = _baseline(configs, varying, choice.baseline)
    order = [base, *(content for content in configs if content != base)]
    short = _short_names(varying)
    changes = {
        content: {key: configs[content][key] for key in varying if _differs(configs, content, base, key)}
        for content in order
    }
    names = {content: _name(changes[content], short) for content in order}
    twice = Counter(names.values())  # 1 and "1" are written alike
    groups = tuple(
        Group(
            names[content] if twice[names[content]] == 1 else f"{names[content]} ({index})",
            configs[content],
            changes[content],
            by_seed[content],
        )
        for index, content in enumerate(order)
    )
    return Grouping(groups, varying, left_out, dropped)


def described(config: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Values of the configuration as text: `lr=0.1, depth=4`."""
    return ", ".join(f"{key}={format_value(config[key])}" for key in keys)


def _key_problems(keys: Sequence[str], choice: Choice) -> Iterator[Problem]:
    if choice.seed not in keys:
        hint = f"{did_you_mean(choice.seed, keys)}\nanother name: --seed KEY; runs without seeds cannot be paired"
        yield Problem(f"no run has the seed {choice.seed!r}", where="--seed", hint=hint)
    for option, names in (("--config", choice.config or ()), ("--ignore", choice.ignore)):
        for name in names:
            if name == choice.seed:
                yield Problem(f"{name!r} is the seed", where=option, hint="--seed KEY names another one")
            elif name not in keys:
                yield Problem(f"no run has {name!r}", where=option, hint=did_you_mean(name, keys))
    if choice.config is not None and choice.ignore:
        yield Problem("not both: --config names all keys of the configuration", where="--ignore")


def _kept_keys(
    found: Sequence[Grouped], keys: Sequence[str], choice: Choice
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keys of the configuration, and those that are left out because they differ in every run."""
    if choice.config is not None:
        return tuple(dict.fromkeys(choice.config)), ()
    rest = [key for key in keys if key != choice.seed and key not in choice.ignore]
    if len({each.seed for each in found}) < 2:
        return tuple(rest), ()
    values = {key: [_content(each.run.config.get(key)) for each in found] for key in rest}
    unique = tuple(key for key in rest if len(set(values[key])) == len(found))
    return tuple(key for key in rest if key not in unique), unique


def _check_groups(
    members: Mapping[str, Sequence[Grouped]],
    left_out: Sequence[str],
    varying: Sequence[str],
    configs: Mapping[str, Mapping[str, Any]],
) -> None:
    if len(members) == 1:
        out = f"left out, because they differ in every run: {', '.join(left_out)}\n" if left_out else ""
        hint = f"{out}--config KEY,... names the keys that were varied"
        raise SpecError(Problem("all runs have the same configuration, so there is nothing to compare", hint=hint))
    num_seeds = len({each.seed for group in members.values() for each in group})
    if num_seeds > 1 and all(len(group) == 1 for group in members.values()):
        values = {key: len({_content(config[key]) for config in configs.values()}) for key in varying}
        most = sorted(values, key=lambda key: -values[key])
        listed = first_of([f"{key} ({values[key]} values)" for key in most], _MOST)
        hint = f"keys that differ: {listed}\n--ignore KEY,... leaves out those that are no configuration"
        raise SpecError(Problem(f"no two of the {len(members)} runs have the same configuration", hint=hint))


def _by_seed(
    members: Mapping[str, Sequence[Grouped]], duplicates: Duplicates
) -> tuple[dict[str, dict[int, SourceRun]], tuple[SourceRun, ...]]:
    found: dict[str, dict[int, SourceRun]] = {}
    dropped: list[SourceRun] = []
    problems: list[Problem] = []
    for content, group in members.items():
        seeds = found.setdefault(content, {})
        for each in group:
            earlier = seeds.get(each.seed)
            if earlier is None or duplicates == "last":
                seeds[each.seed] = each.run
                dropped += [earlier] if earlier else []
            elif duplicates == "first":
                dropped.append(each.run)
            else:
                text = f"has the configuration and the seed ({each.seed}) of {earlier.where}"
                hint = "--duplicates last or first takes one of them; --config KEY,... if they differ in something else"
                problems.append(Problem(text, where=each.run.where, hint=hint))
    if problems:
        raise SpecError(problems)
    return found, tuple(dropped)


def _baseline(configs: Mapping[str, Mapping[str, Any]], varying: Sequence[str], asked: str | None) -> str:
    first = next(iter(configs))
    if asked is None:
        return first
    short = _short_names(varying)
    known = [described(config, varying) for config in configs.values()]
    by_name = [
        content
        for content in configs
        if _name({key: configs[content][key] for key in varying if _differs(configs, content, first, key)}, short)
        == asked
    ]
    if len(by_name) == 1:
        return by_name[0]
    if "=" in asked:
        wanted: dict[str, Any] = {}
        for part in asked.split(","):
            name, _, text = part.partition("=")
            key = next((key for key in varying if name.strip() in (key, short[key])), None)
            if key is None:
                names = [short[key] for key in varying]
                raise SpecError(
                    Problem(
                        f"groups do not differ in {name.strip()!r}", where="--baseline", hint=did_you_mean(name, names)
                    )
                )
            wanted[key] = value_of_text(text)
        found = [
            c for c, config in configs.items() if all(_content(config[k]) == _content(v) for k, v in wanted.items())
        ]
    else:
        value = _content(value_of_text(asked))
        found = [c for c, config in configs.items() if any(_content(config[key]) == value for key in varying)]
    if len(found) != 1:
        came = "no group" if not found else f"{len(found)} groups"
        hint = f"the groups: {'; '.join(known[:_MOST])}" + (f" and {len(known) - _MOST} more" * (len(known) > _MOST))
        raise SpecError(Problem(f"{came} fits {asked!r}", where="--baseline", hint=hint))
    return found[0]


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """Key -> its shortest end, at a dot, that no other key has."""
    ends = {key: [key.split(".", index)[-1] for index in range(key.count("."), -1, -1)] for key in keys}
    taken = Counter(end for each in ends.values() for end in each)
    return {key: next((end for end in each if taken[end] == 1), key) for key, each in ends.items()}


def _name(changes: Mapping[str, Any], short: Mapping[str, str]) -> str:
    return ", ".join(f"{short[key]}={format_value(value)}" for key, value in changes.items()) or "baseline"


def _differs(configs: Mapping[str, Mapping[str, Any]], one: str, other: str, key: str) -> bool:
    return _content(configs[one][key]) != _content(configs[other][key])


def _content(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
