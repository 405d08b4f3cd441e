"""Loader of sweep files: a validated `Sweep`, or all problems at once with their locations.

Four steps: read the tree (`yaml_source`), apply profile and overrides (`overlay`), validate types (pydantic, with
readable messages by `explain`), check the semantics (`checks`). Values of a wrong type are removed before the semantic
checks, so that all problems of a file are reported in one pass.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from search_space.checks.sweep_checks import issues
from search_space.loading.named_plugins import load_named
from search_space.loading.overlay import apply_override, apply_profile, profile_names
from search_space.loading.pretraining import pretraining_problems
from search_space.loading.studies import STUDIES, choose_study, split_studies
from search_space.parsing.errors import Problem, SpecError
from search_space.parsing.type_guards import is_dict, is_tuple
from search_space.parsing.yaml_source import MAX_PROBLEMS, Mark, Node, read_file, read_text
from search_space.schema.messages.pydantic_errors import Fault, dotted, explain
from search_space.schema.sweep import Sweep
from search_space.schema.task import ForeignSpec
from search_space.schema.tracking import OptunaSpec, TensorBoardSpec, TrackerSpec

__all__ = ["SweepFile", "load_again", "load_studies", "load_sweep", "load_sweep_text"]


@dataclass(frozen=True)
class SweepFile:
    """Sweep with its source, so that later stages can report problems with their location.

    Attributes:
        profile, overrides: what was laid over the file (see `load_sweep`).
    """

    sweep: Sweep
    text: str = field(repr=False)
    path: str
    root: Node = field(repr=False)
    study: str = ""
    profile: str = ""
    overrides: tuple[str, ...] = ()

    @property
    def resolved(self) -> dict[str, Any]:
        """Content of the file with profile and overrides applied, as plain values."""
        return self.root.plain()

    def problem(
        self, path: Sequence[str | int] | str, message: str, hint: str = "", *, at_key: bool = False
    ) -> Problem:
        """Problem with its location in the file.

        Args:
            path: Path from the top of the file (`prune.n_startup_trials`, or a sequence of keys).
            at_key: Locate the last key instead of its value, for keys that should not exist.
        """
        return _locate(self.root, _parts(self.root, path), message, hint, at_key=at_key)


def load_sweep(
    path: str | Path, *, profile: str | None = None, overrides: Iterable[str] = (), study: str | None = None
) -> SweepFile:
    """Load and validate the sweep of a file.

    Args:
        path: A YAML file.
        profile: Name of one of its `profiles`, applied to the rest.
        overrides: `path=value`, applied after the profile.
        study: Name of one of its `studies`; required if it has several.

    Raises:
        SpecError: with every problem found, in file order.
    """
    return _only(load_studies(path, profile=profile, overrides=overrides, study=study))


def load_studies(
    path: str | Path, *, profile: str | None = None, overrides: Iterable[str] = (), study: str | None = None
) -> list[SweepFile]:
    """Load all sweeps of a file: one for each of its `studies` (or the given one), or the file itself. See
    `load_sweep`."""
    root, problems = read_file(path)
    return _load_all(root, problems, str(path), profile, tuple(overrides), study)


def load_sweep_text(
    text: str,
    name: str = "<text>",
    *,
    profile: str | None = None,
    overrides: Iterable[str] = (),
    study: str | None = None,
) -> SweepFile:
    """Load a sweep from text; messages show `name` as its file. See `load_sweep`."""
    root, problems = read_text(text, name)
    return _only(_load_all(root, problems, name, profile, tuple(overrides), study))


def load_again(file: SweepFile, *, overrides: Iterable[str] = (), study: str | None = None) -> list[SweepFile]:
    """The sweeps of a file that has been read, all of its studies or the given one, from its text as it was then.

    Args:
        overrides: `path=value`, applied after those that the file was loaded with.
    """
    root, problems = read_text(file.text, file.path)
    return _load_all(root, problems, file.path, file.profile or None, (*file.overrides, *overrides), study)


def _only(files: list[SweepFile]) -> SweepFile:
    if len(files) > 1:
        names = ", ".join(file.study for file in files)
        raise SpecError(Problem(f"has several studies: {names}", files[0].path, STUDIES, "choose one of them"))
    return files[0]


def _load_all(
    root: Node, problems: list[Problem], name: str, profile: str | None, overrides: Sequence[str], study: str | None
) -> list[SweepFile]:
    load_named(root, Path(name).parent)
    studies, of_studies = split_studies(root)
    files: list[SweepFile] = []
    found = list(of_studies)
    chosen = choose_study(list(studies), study)
    sweeps: dict[str, Sweep] = {}
    for each in studies:
        try:
            file = _load(studies[each], problems, name, profile, overrides)
            file = replace(file, study=each, profile=profile or "", overrides=tuple(overrides))
        except SpecError as err:
            found += err.problems if each in chosen else ()
            continue
        sweeps[each] = file.sweep
        files += [file] if each in chosen else []
    for file in files:
        found += pretraining_problems(file.study, file.root, file.sweep, {each: sweeps.get(each) for each in studies})
    if found:
        raise SpecError(_in_order(found))
    return files


def _load(root: Node, problems: list[Problem], name: str, profile: str | None, overrides: Iterable[str]) -> SweepFile:
    written = root
    if not isinstance(root.value, dict):
        came = "nothing" if root.value is None else "a list" if isinstance(root.value, tuple) else repr(root.value)
        message = f"a sweep is a mapping with name, baseline, design, ..., but this file contains {came}"
        raise SpecError(
            [*problems, Problem(message, root.mark.where, hint="`archsweep init` writes one to start from")]
        )
    found = list(problems)
    if profile is not None:
        root, of_profile = apply_profile(root, profile)
        found += of_profile
    for override in overrides:
        root, of_override = apply_override(root, override)
        found += of_override
    load_named(root, Path(name).parent)  # those of the study, of the profile and of the overrides, too
    unreadable = {problem.where for problem in found}  # the placeholder of an unreadable value is not a second problem
    sweep, of_sweep = _validate(root)
    found += [problem for problem in of_sweep if problem.where not in unreadable]
    without = cache(lambda: _validate(written)[1])
    for other in profile_names(written):
        if other != profile:
            found += _of_profile(written, other, without)
    if found or sweep is None:
        shown = _in_order(found)
        if len(shown) >= MAX_PROBLEMS:
            rest = Problem(f"these are the first {MAX_PROBLEMS} problems; there may be more", root.mark.source.name)
            shown = [*shown[:MAX_PROBLEMS], rest]
        raise SpecError(shown)
    return SweepFile(_with_absolute_folders(sweep, name), root.mark.source.text, name, root)


def _with_absolute_folders(sweep: Sweep, name: str) -> Sweep:
    """Sweep with absolute folders, resolved relative to the sweep file: workers have another working directory."""

    def absolute(written: str | None) -> str | None:
        return None if written is None else str((Path(name).parent / Path(written).expanduser()).resolve())

    update = {"data_dir": absolute(sweep.resources.data_dir)}
    if isinstance(sweep.baseline.task, ForeignSpec):
        update["sweep_dir"] = absolute(sweep.resources.sweep_dir or ".")
    resources = sweep.resources.model_copy(update=update)

    def moved(tracker: TrackerSpec) -> TrackerSpec:
        if isinstance(tracker, TensorBoardSpec):
            return tracker.model_copy(update={"dir": absolute(tracker.dir)})
        if isinstance(tracker, OptunaSpec) and "://" not in (tracker.storage or ""):
            return tracker.model_copy(update={"storage": absolute(tracker.storage)})
        return tracker

    track = tuple(map(moved, sweep.track))
    return sweep.model_copy(update={"resources": resources, "track": track})


def _of_profile(root: Node, name: str, without: Callable[[], list[Problem]]) -> list[Problem]:
    """Problems that a profile would add to those of the file, which `without` gives."""
    laid, problems = apply_profile(root, name)
    _, with_it = _validate(laid)
    new = [problem for problem in with_it if problem not in without()]
    return problems + [replace(problem, message=f"with the profile {name!r}: {problem.message}") for problem in new]


def _validate(root: Node) -> tuple[Sweep | None, list[Problem]]:
    data = root.plain()
    faults: list[Fault] = []
    sweep: Sweep | None = None
    for _ in range(8):  # removing a value can reveal another fault, but not many times
        try:
            sweep = Sweep.model_validate(data, strict=True)
            break
        except ValidationError as err:
            fresh = explain(err, Sweep, data, limit=MAX_PROBLEMS)
            known = {fault.path for fault in faults}  # a required value that was removed here is not missing
            faults += [
                fault
                for fault in fresh
                if fault.path not in known and not any(_holds(fault, other) for other in [*faults, *fresh])
            ]
            if len(faults) >= MAX_PROBLEMS:
                break
            for fault in fresh:
                data = _without_section(data, fault.path) if len(fault.path) < 2 else _without(data, _unusable(fault))
    found = [_locate(root, fault.path, fault.message, fault.hint, at_key=fault.at_key) for fault in faults]
    if sweep is not None:
        broken = [fault.path for fault in faults]
        for issue in itertools.islice(issues(sweep, broken), MAX_PROBLEMS):
            found.append(_locate(root, issue.path, issue.message, issue.hint, at_key=issue.at_key))
    return sweep, found


def _holds(fault: Fault, other: Fault) -> bool:
    """Whether `other` is below `fault`: a list that is empty because its only value was refused is not reported."""
    return len(other.path) > len(fault.path) and other.path[: len(fault.path)] == fault.path


_STAND_INS: dict[str, Any] = {"name": "unnamed", "baseline": {}, "design": "one_factor"}


def _unusable(fault: Fault) -> tuple[str | int, ...]:
    """Path of what cannot be checked further: a node of an unknown kind as a whole, else the value itself."""
    *node, last = fault.path
    return tuple(node) if last == "name" and node[0] == "baseline" else fault.path


def _without_section(data: Any, path: Sequence[str | int]) -> Any:
    """A sweep without one section, or without any; required ones get a placeholder."""
    if not path:
        return {}
    if path[0] in _STAND_INS and is_dict(data):
        return {**data, path[0]: _STAND_INS[path[0]]}
    return _without(data, path)


def _without(data: Any, path: Sequence[str | int]) -> Any:
    """Data without the value at `path`, which has at least one key."""
    head, rest = path[0], path[1:]
    if is_dict(data):
        if rest and head in data and not _is_missing(data[head], rest):
            return {**data, head: _without(data[head], rest)}
        return {key: value for key, value in data.items() if key != head}
    if is_tuple(data) and isinstance(head, int) and head < len(data):
        kept = (_without(data[head], rest),) if rest and not _is_missing(data[head], rest) else ()
        return data[:head] + kept + data[head + 1 :]
    return data


def _is_missing(data: Any, rest: Sequence[str | int]) -> bool:
    """Whether the fault is a missing key, so that its owner must be removed."""
    return len(rest) == 1 and (not isinstance(data, dict | tuple) or (isinstance(data, dict) and rest[0] not in data))


def _locate(root: Node, path: Sequence[str | int], message: str, hint: str, *, at_key: bool) -> Problem:
    mark = _mark(root, path, at_key=at_key)
    return Problem(message, mark.where, dotted(tuple(path)), hint, mark.excerpt)


def _mark(root: Node, path: Sequence[str | int], *, at_key: bool) -> Mark:
    """Location of the value at `path`, or of its closest existing ancestor."""
    here, mark = root, root.mark
    for index, part in enumerate(path):
        if isinstance(here.value, dict) and part in here.value:
            mark = here.keys[str(part)] if at_key and index == len(path) - 1 else here.value[str(part)].mark
            here = here.value[str(part)]
        elif isinstance(here.value, tuple) and isinstance(part, int) and part < len(here.value):
            here = here.value[part]
            mark = here.mark
    return mark


def _parts(root: Node, path: Sequence[str | int] | str) -> tuple[str | int, ...]:
    """Keys of a dotted path; keys that contain dots themselves (those of `space`) are matched against the tree."""
    if not isinstance(path, str):
        return tuple(path)
    parts: list[str | int] = []
    here: Node | None = root
    left = path.split(".")
    while left:
        known: dict[str, Node] = here.value if here is not None and isinstance(here.value, dict) else {}
        lengths = range(len(left), 0, -1)
        taken = next((n for n in lengths if ".".join(left[:n]) in known), 1)
        key = ".".join(left[:taken])
        parts.append(key)
        here = known.get(key)
        left = left[taken:]
    return tuple(parts)


def _in_order(found: list[Problem]) -> list[Problem]:
    """Problems in file order, then those of the command line, without duplicates."""

    def place(problem: Problem) -> tuple[int, int, int]:
        numbers = re.search(r":(\d+):(\d+)$", problem.where)
        if numbers is None or problem.where.startswith("--set "):
            return 1, 0, 0
        return 0, int(numbers[1]), int(numbers[2])

    return list(dict.fromkeys(sorted(found, key=place)))
