"""Values of a sweep that break a relation between options in every trial that they can belong to.

Such a value is reported at its place before the run. A value that only some of the other parameters' values forbid is
left to the run, where the proposal is infeasible, except in a design: its rows are known, and each must be legal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from search_space.parsing.errors import SpecError
from search_space.parsing.expressions import ExpressionError
from search_space.parsing.type_guards import is_dict
from search_space.schema.parameters import Choice, Component, Parameter, Range
from search_space.schema.sweep import Sweep
from search_space.schema.trial import Setting
from search_space.settings.candidates import Issue
from search_space.settings.paths import is_path, lay, outer_first, overlap
from search_space.settings.training_relations import BrokenRelation
from search_space.variants.requirements import Requirement, unmet_requirements
from search_space.variants.variant import count_upper, variants

__all__ = ["RelationsOf", "impossible_choices", "impossible_rows", "impossible_tuning"]

RelationsOf = Callable[[Setting], Sequence[BrokenRelation]]
Path = tuple[str | int, ...]
_MAX_COMBINATIONS = 2000
_MAX_ROWS = 5000


@dataclass(frozen=True)
class _Option:
    """Values that a parameter sets together, and the place where they are reported.

    `is_inside`: a value between the ends of a range, which may mend others but is not reported itself; `is_mapping`: at
    `place` is a mapping of paths to these values.
    """

    place: Path
    values: tuple[tuple[str, Any], ...]
    is_inside: bool = False
    is_mapping: bool = False


def impossible_choices(sweep: Sweep, relations_of: RelationsOf, roots: Sequence[str]) -> Iterator[Issue]:
    """Issues of values in `space` and `design.rows` that break a relation whatever the other parameters are.

    Args:
        sweep: A sweep whose values are legal one by one.
        relations_of: Relations that a setting breaks.
        roots: Paths that these relations depend on; values elsewhere are not tried.
    """
    parameters = {key: tuple(_options(key, key, given, ("space", key))) for key, given in sweep.space.items()}
    rows = {
        f"rows[{index}]": (_row_option(row.changes, ("design", "rows", index)),)
        for index, row in enumerate(sweep.design.rows)
    }
    is_alone = sweep.design.name in ("list", "one_factor")
    yield from _impossible(sweep.written_baseline, {**parameters, **rows}, relations_of, roots, is_alone=is_alone)


def impossible_tuning(sweep: Sweep, relations_of: RelationsOf, roots: Sequence[str]) -> Iterator[Issue]:
    """Issues of values of `retune.parameters`, as `impossible_choices`."""
    if sweep.retune is None:
        return
    place = ("retune", "parameters")
    parameters = {
        path: tuple(_options(path, path, given, (*place, path))) for path, given in sweep.retune.parameters.items()
    }
    # What a variant changes may mend a candidate, too.
    varied = {key: tuple(_options(key, key, given, ("space", key))) for key, given in sweep.space.items()}
    for issue in _impossible(sweep.written_baseline, {**parameters, **varied}, relations_of, roots, is_alone=False):
        if issue.path[:2] == place:
            yield issue


def impossible_rows(
    sweep: Sweep, relations_of: RelationsOf, roots: Sequence[str], known: Sequence[Issue]
) -> Iterator[Issue]:
    """Issues of combinations that a design contains and `require` does not drop; at most one for each message.

    Only the parameters that matter are combined, and of a large design only the first 5,000 rows.

    Args:
        known: Issues of single values, which explain the rows that contain them.
    """
    if sweep.design.name in ("search", "list", "one_factor"):
        return
    reduced = _reduced(sweep, roots)
    if not reduced.space or count_upper(reduced) > 100 * _MAX_ROWS:
        return
    reported = {issue.message for issue in known} | {broken.message for broken in relations_of(sweep.baseline)}
    try:
        for variant in itertools.islice(variants(reduced), _MAX_ROWS):
            if unmet_requirements(reduced, variant.setting, None):
                continue
            for broken in relations_of(variant.setting):
                if broken.message not in reported:
                    reported.add(broken.message)
                    message = f"the variant {variant.name!r} cannot be trained: {broken.path}: {broken.message}"
                    hint = "remove one of its values, or drop such variants by `require`"
                    yield Issue(("space",), message, hint, at_key=True)
    except (SpecError, ExpressionError):  # reported with the plan, and with the requirements
        return


def _reduced(sweep: Sweep, roots: Sequence[str]) -> Sweep:
    """Sweep of those parameters that can break a relation, and of those that `require` combines with them."""
    if sweep.design.name != "factorial":
        return (
            sweep if any(_varies(key, given, roots) for key, given in sweep.space.items()) else _with_space(sweep, {})
        )
    wanted = list(roots)
    for text in sweep.require:
        try:
            wanted += Requirement.parse(text).paths
        except ExpressionError:
            continue
    space = {key: given for key, given in sweep.space.items() if _varies(key, given, wanted)}
    return _with_space(sweep, space if any(_varies(key, given, roots) for key, given in space.items()) else {})


def _with_space(sweep: Sweep, space: Mapping[str, Parameter]) -> Sweep:
    return sweep.model_copy(update={"space": dict(space)})


def _varies(key: str, given: Parameter, paths: Sequence[str]) -> bool:
    return any(_touches(option, paths) for option in _options(key, key, given, ("space", key)))


def _impossible(
    data: dict[str, Any],
    parameters: Mapping[str, tuple[_Option, ...]],
    relations_of: RelationsOf,
    roots: Sequence[str],
    *,
    is_alone: bool,
) -> Iterator[Issue]:
    baseline = _setting(data, ())
    of_baseline = {broken.message for broken in relations_of(baseline)} if baseline else set[str]()
    for key, options in parameters.items():
        for option in options:
            if option.is_inside or not _touches(option, roots):
                continue
            others = [] if is_alone else [of for other, of in parameters.items() if other != key and of]
            firsts = [value for of in others if any(_touches(each, roots) for each in of) for value in of[0].values]
            setting = _setting(data, [*option.values, *firsts]) or _setting(data, option.values)
            for broken in relations_of(setting) if setting else ():
                if broken.message in of_baseline or not _touches(option, broken.paths):
                    continue
                if not _can_be_mended(data, option, others, broken, relations_of):
                    yield Issue(_place(option, broken), broken.message, broken.hint)


def _can_be_mended(
    data: dict[str, Any],
    option: _Option,
    others: Sequence[tuple[_Option, ...]],
    broken: BrokenRelation,
    relations_of: RelationsOf,
) -> bool:
    """Whether some values of the other parameters meet the relation; true where these are too many to try."""
    others = [options for options in others if any(_touches(each, broken.paths) for each in options)]
    if not others:
        return False
    if math.prod(map(len, others)) > _MAX_COMBINATIONS:
        return True
    kind = (broken.path, broken.paths)
    for combination in itertools.product(*others):
        setting = _setting(data, [*option.values, *(value for other in combination for value in other.values)])
        if setting and all((each.path, each.paths) != kind for each in relations_of(setting)):
            return True
    return False


def _place(option: _Option, broken: BrokenRelation) -> Path:
    """Place of the value to change; of several in one mapping, the one that the relation names first."""
    if not option.is_mapping:
        return option.place
    own = [path for path, _ in option.values]
    return (*option.place, next(path for named in (broken.path, *broken.paths) for path in own if overlap(path, named)))


def _touches(option: _Option, paths: Sequence[str]) -> bool:
    return any(overlap(own, path) for own, _ in option.values for path in paths)


def _setting(data: dict[str, Any], values: Sequence[tuple[str, Any]]) -> Setting | None:
    for path, value in values:
        data = lay(data, path, value)
    try:
        return Setting.model_validate(data, strict=True)
    except ValidationError:  # reported by the checks of single values
        return None


def _row_option(changes: Mapping[str, Any], place: Path) -> _Option:
    return _Option(place, tuple((path, changes[path]) for path in outer_first(changes)), is_mapping=True)


def _options(key: str, path: str, given: Parameter, place: Path) -> Iterator[_Option]:
    if isinstance(given, Range):
        for side, number in (("min", given.min), ("max", given.max)):
            yield _Option((*place, side), ((path, number),))
        yield _Option(place, ((path, _inside(given)),), is_inside=True)
    elif isinstance(given, Component):
        for side, value in (("off", given.off), ("on", given.on)):
            if is_path(key):
                yield _Option((*place, side), ((path, value),))
            elif is_dict(value):
                yield _row_option(value, (*place, side))
    else:
        for index, choice in enumerate(given):
            yield from _choice_options(key, path, choice, (*place, index))


def _inside(given: Range) -> int | float:
    """A value between the ends of a range: of a whole one the second, else the middle on its scale."""
    if given.is_whole or given.step is not None:
        return min(given.min + (given.step or 1), given.max)
    return math.sqrt(given.min * given.max) if given.log else (given.min + given.max) / 2


def _choice_options(key: str, path: str, choice: Choice, place: Path) -> Iterator[_Option]:
    """The choice itself, or with parameters of its own each value of these beside the first values of the others."""
    own = (path, choice.value)
    inner = {
        relative: tuple(_options(key, f"{path}.{relative}", given, (*place, "with", relative)))
        for relative, given in choice.with_.items()
    }
    if not inner:
        yield _Option(place, (own,))
    for relative, options in inner.items():
        firsts = [value for other, of in inner.items() if other != relative for value in of[0].values]
        for option in options:
            yield _Option(option.place, (own, *firsts, *option.values))
