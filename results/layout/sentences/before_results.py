"""What came before the results, in the caption: tuning of every arm, a preregistration, and what was changed later."""

from __future__ import annotations

from collections.abc import Iterable

from results.plan.run_plan import Retuned
from results.plan.stored import Preregistered
from results.table.table import AblationTable

__all__ = ["planned_first", "tuning_sentences"]

_SHOWN_DIGITS = 16


def planned_first(table: AblationTable) -> Iterable[str]:
    """Sentences of the caption; none of a plan that was not frozen and did not change."""
    for study, found in table.preregistered.items():
        yield _preregistered(found, study)
    if table.changed_later:
        rest = ""
        if any(row.is_exploratory for row in table.rows):
            rest = " Verdicts that rest on it are exploratory: alpha does not bound their false claims."
        yield f"Changed after results were seen: {'; '.join(table.changed_later)}.{rest}"


def _preregistered(found: Preregistered, study: str) -> str:
    """Date, hash and deviations.

    The whole hash is in `plan.json` and in the file of the preregistration; its beginning is enough to find it.
    """
    of = f" {study}" if study else ""
    date, _, _ = found.date.partition("T")
    text = f"Preregistered{of} on {date}, SHA-256 of the plan {found.digest[:_SHOWN_DIGITS]}..."
    if not found.differs:
        return f"{text}; carried out as it was."
    return f"{text}; it was not carried out as it was: {'; '.join(found.differs)}."


def tuning_sentences(table: AblationTable) -> Iterable[str]:
    """The tuning of every arm: its space, the settings really tried, and the seeds."""
    if not (retuned := table.retuned):
        return
    known = retuned.space
    space = ", ".join(f"{path} ({known[path]})" if path in known else path for path in retuned.parameters)
    arms: dict[int, list[str]] = {}
    for row in table.rows:
        if row.num_tried is not None:
            arms.setdefault(row.num_tried, []).append(row.name)
    if not arms:
        tried = f"at most {retuned.num_trials} settings per arm"
    elif len(arms) == 1:
        tried = f"the best of {_trained(next(iter(arms)), retuned)} per arm"
    else:
        each = "; ".join(f"{_trained(number, retuned)} for {', '.join(names)}" for number, names in arms.items())
        tried = f"the best of the different settings tried: {each}"
    seeds = ", ".join(map(str, retuned.seeds))
    seeds = f"seed {seeds}, which is" if len(retuned.seeds) == 1 else f"seeds {seeds}, which are"
    yield (
        f"Every arm is tuned to its own optimum of {space}: {tried} ({retuned.sampler}, {seeds} not reported), "
        f"by val_{table.metric.name}. Differences are conditional on the settings found: the variance of the tuning is "
        "in no interval."
    )


def _trained(num_settings: int, retuned: Retuned) -> str:
    trials = num_settings * len(retuned.seeds)
    settings = "1 setting" if num_settings == 1 else f"{num_settings} settings"
    return f"{settings} ({'1 trial' if trials == 1 else f'{trials} trials'})"
