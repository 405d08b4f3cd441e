"""Values of a sweep that no trial could be trained with, found before the first trial: only timm and the data know.

Options below `arch.options` are arguments of timm's constructors. An unknown one, or a text that timm cannot use, is a
slip of the pen and no variant: it is refused, not dropped like a size that does not fit the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from runners.data import DataInfo
from runners.training import training_relations as relations_of_training
from search_space import Problem, Setting, SpecError, Sweep, SweepFile, TaskSpec, Variant, variants
from search_space.designs.components import components_of, num_placebos
from search_space.settings.candidates import Issue
from search_space.settings.paths import split
from search_space.settings.training_relations import BrokenRelation
from search_space.variants.impossible_choices import RelationsOf, impossible_choices, impossible_tuning

__all__ = ["located", "planned_relations", "refused_choices"]

_TRAINING = ("task", "train", "arch.weights")
_OPTIONS = ("arch.options", "arch.model")
_FEWEST_CLASSES = {"top5": 6}
"""Metrics that are measured from so many classes on."""


def refused_choices(
    sweep: Sweep, training_relations: RelationsOf, cost_of: Callable[[Variant], Mapping[str, float]]
) -> list[Issue]:
    """Issues of the baseline's model options, and of values of `space`, `design.rows` and `retune`.

    Args:
        training_relations: relations that the training options of a setting break.
        cost_of: cost of a variant, or a SpecError if it cannot be built.
    """

    def unknown_options(setting: Setting) -> list[BrokenRelation]:
        reasons = _reasons(setting, cost_of) if setting.arch.options else ()
        return [
            BrokenRelation(each.path, each.message, each.hint, (each.path, "arch.model"))
            for each in reasons
            if each.path.startswith("arch.options.")
        ]

    def unusable_texts(setting: Setting) -> list[BrokenRelation]:
        texts = [name for name, value in setting.arch.options.items() if isinstance(value, str)]
        if not texts or unknown_options(setting) or not (reasons := _reasons(setting, cost_of)):
            return []
        guilty = [f"arch.options.{name}" for name in texts if not _reasons(_without(setting, name), cost_of)]
        return [BrokenRelation(path, reasons[0].message, reasons[0].hint, (path, "arch")) for path in guilty]

    found = [
        Issue(("baseline", *split(broken.path)), broken.message, broken.hint, at_key=True)
        for broken in [*unknown_options(sweep.baseline), *unusable_texts(sweep.baseline)]
    ]
    found += impossible_choices(sweep, training_relations, _TRAINING)
    found += impossible_tuning(sweep, training_relations, _TRAINING)
    unknown = map(_at_its_key, impossible_choices(sweep, unknown_options, _OPTIONS))
    found += {issue.path: issue for issue in unknown}.values()  # one for all values of an option
    found += impossible_choices(sweep, unusable_texts, _OPTIONS)
    found += _impossible_placebos(sweep, cost_of)
    return list(dict.fromkeys(found))


@contextlib.contextmanager
def located(file: SweepFile) -> Iterator[None]:
    """Add the place in the file to errors that a later stage raises about the baseline."""
    try:
        yield
    except SpecError as err:
        raise SpecError(
            [
                file.problem(f"baseline.{problem.path}", problem.message, problem.hint)
                if problem.path.split(".")[0] in ("arch", "task", "train")
                else problem
                for problem in err.problems
            ]
        ) from err


def _at_its_key(issue: Issue) -> Issue:
    """Issue of an unknown option, once at the key that names it instead of at each of its values."""
    is_named = issue.path[0] == "space" and str(issue.path[1]).startswith("arch.options.")
    return replace(issue, path=issue.path[:2] if is_named else issue.path, at_key=True)


def _reasons(setting: Setting, cost_of: Callable[[Variant], Mapping[str, float]]) -> tuple[Problem, ...]:
    try:
        cost_of(Variant("", {}, setting))
    except SpecError as err:
        return err.problems
    return ()


def _impossible_placebos(sweep: Sweep, cost_of: Callable[[Variant], Mapping[str, float]]) -> Iterator[Issue]:
    """Issues of components whose mechanism can be built with its options, and whose placebo cannot."""
    for variant in variants(sweep) if num_placebos(sweep) else ():
        if not variant.placebo_of:
            continue
        arch = variant.setting.arch
        real = arch.model_copy(update={"attention": arch.attention.model_copy(update={"placebo": False})})
        if not _reasons(variant.setting.model_copy(update={"arch": real}), cost_of):
            key, _ = components_of(sweep)[variant.placebo_of]
            for reason in _reasons(variant.setting, cost_of):
                text = f"{reason.path}: {reason.message}"
                yield Issue(("space", key, "placebo"), text, f"{reason.hint}, or remove `placebo`", at_key=True)


def _without(setting: Setting, option: str) -> Setting:
    options = {name: value for name, value in setting.arch.options.items() if name != option}
    return setting.model_copy(update={"arch": setting.arch.model_copy(update={"options": options})})


def planned_relations(
    sweep: Sweep, setting: Setting, describe: Callable[[TaskSpec], DataInfo], num_processes: int
) -> list[BrokenRelation]:
    """Relations that a setting of a sweep breaks: of its training, and of the metrics by which the sweep compares."""
    found = relations_of_training(setting, describe, num_processes=num_processes)
    compared = (sweep.metric, *(sweep.search.objectives if sweep.search else ()))
    return found or list(_undefined(setting, describe, compared))


def _undefined(
    setting: Setting, describe: Callable[[TaskSpec], DataInfo], names: Collection[str]
) -> Iterator[BrokenRelation]:
    if setting.task.name != "classification" or not (wanted := _FEWEST_CLASSES.keys() & set(names)):
        return
    info = describe(setting.task)
    for name in sorted(wanted):
        if info.num_classes < _FEWEST_CLASSES[name]:
            fewest = _FEWEST_CLASSES[name]
            text = f"{info.name!r} has {info.num_classes} classes, and {name} is measured from {fewest} on"
            others = ", ".join(each for each in setting.task.measured if each not in wanted)
            yield BrokenRelation("task.dataset", text, f"write another metric: {others}", ("task.dataset",))
