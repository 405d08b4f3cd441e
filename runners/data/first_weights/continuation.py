"""Longer trainings that begin with what shorter ones kept: which trial of a run a trial continues.

It is the one with the same seed, architecture, task and training; only length and schedule may differ, because a
schedule that ended is not continued but begun again. That is said wherever the numbers are (`weights_note`).
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from results.store.ledger import read_ledger
from results.store.record_summary import latest_by_trial
from results.store.records import TrialRecord
from results.store.run_layout import RunDir
from search_space.parsing.errors import Problem, SpecError, first_of
from search_space.schema.identity import canonical_json
from search_space.schema.trial import Setting, TrainSpec, TrialSpec
from search_space.settings.naming import difference, format_value

__all__ = ["continued_trial"]

_LENGTH = ("epochs", "steps", "warmup_epochs", "cooldown_epochs", "decay_epochs", "decay_milestones")
_SCHEDULE = (
    *("sched", "lr", "lr_base", "lr_base_size", "lr_base_scale", "warmup_lr", "warmup_prefix", "min_lr", "decay_rate"),
    *("sched_on_updates", "lr_cycle_limit", "lr_cycle_mul", "lr_cycle_decay", "lr_k_decay"),
    *("lr_noise", "lr_noise_pct", "lr_noise_std"),
)
_MOST_NAMED = 5


def continued_trial(spec: TrialSpec, run_dir: RunDir, seed: int) -> TrialRecord:
    """The completed trial of a run that a trial continues.

    Args:
        seed: of the trial to find.

    Raises:
        SpecError: there is none, or several differ in what may differ.
    """
    completed = [
        each
        for each in latest_by_trial(read_ledger(run_dir.ledger, curves=False).records).values()
        if each.status == "completed" and not each.role
    ]
    known = [(each, other) for each in completed if (other := _spec_of(each)) is not None and other.seed == seed]
    # A trial is not its own beginning where a run continues itself.
    known = [(each, other) for each, other in known if other.arch.weights != spec.arch.weights]
    wanted = _bare(spec, (*_LENGTH, *_SCHEDULE))
    found = [(each, other) for each, other in known if _bare(other, (*_LENGTH, *_SCHEDULE)) == wanted]
    if len(found) > 1:  # of variants that differ in the learning rate, the one with the same
        found = [each for each in found if _bare(each[1], _LENGTH) == _bare(spec, _LENGTH)] or found
    if len(found) == 1:
        return found[0][0]
    if found:
        names = first_of([each.variant for each, _ in found], _MOST_NAMED)
        text = f"{run_dir.path} has several trials that this one could continue: {names}"
        raise SpecError(Problem(text, path="arch.weights", hint="name one of these variants in place of *"))
    text = f"{run_dir.path} has no completed trial with seed {seed} that differs from this one in its length alone"
    variants = sorted({each.variant for each in completed})
    hint = f"its completed variants: {first_of(variants, _MOST_NAMED)}" if variants else "run it first"
    if known:
        others = [(each.variant, _other_values(spec, other)) for each, other in known]
        closest, values = min(others, key=lambda each: len(each[1]))
        hint += f"; the closest is {closest!r}, where {first_of(values, _MOST_NAMED)}"
    elif variants:
        hint += f", with the seeds {', '.join(map(str, sorted({each.seed for each in completed})))}"
    raise SpecError(Problem(text, path="arch.weights", hint=hint))


def _other_values(spec: TrialSpec, other: TrialSpec) -> list[str]:
    """What a trial has that keeps another from continuing it: `train.batch_size=16`."""
    ours, theirs = (_setting(each, (*_LENGTH, *_SCHEDULE)) for each in (spec, other))
    return [
        f"{path}={format_value(value)}"
        for node in ("arch", "task", "train")
        for path, value in difference(ours, theirs, node).items()
    ]


def _spec_of(record: TrialRecord) -> TrialSpec | None:
    try:
        return TrialSpec.model_validate(record.spec)
    except ValidationError:  # of an archsweep with other options
        return None


def _bare(spec: TrialSpec, without: Sequence[str]) -> str:
    return canonical_json(_setting(spec, without))


def _setting(spec: TrialSpec, without: Sequence[str]) -> Setting:
    """With default values of training options, and without first weights."""
    defaults = {name: TrainSpec.model_fields[name].get_default() for name in without}
    arch = spec.arch.model_copy(update={"weights": None})
    return Setting(arch=arch, task=spec.task, train=spec.train.model_copy(update=defaults))
