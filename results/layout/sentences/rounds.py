"""Rounds of seeds, and tests that hold at any number of them, in caption and footnotes."""

from __future__ import annotations

from collections.abc import Iterable

from results.plan.comparison import Rounds
from results.stats.numbers import level_percent
from results.table.table import AblationTable

__all__ = ["rounds_sentences", "sequential_interval", "sequential_test", "stopped_notes"]

_SPENDING = {
    "obf": "nearly all of it at the last (O'Brien-Fleming-like)",
    "pocock": "nearly evenly (Pocock-like)",
    "power": "by the square of the share of the seeds",
}


def rounds_sentences(table: AblationTable) -> Iterable[str]:
    """When one looked, which rows stopped, and what that does to the estimates."""
    rounds = table.rounds
    if rounds is None:
        return
    futile = _futile(rounds, table.metric.unit)
    stopped = {
        "decided": f"decided (better, worse{_or_equivalent(table)}){futile and ', or '}{futile}",
        "futile": futile,
    }
    which = stopped[rounds.stop]
    rule = f" Rows that are {which} get no further seeds." if which else ""
    yield f"Looks at the results, planned before them: with {_looks(rounds)} seeds.{rule}"
    if any(row.stopped for row in table.rows):
        yield "Differences of rows that stopped early are estimates after stopping, biased away from 0."


def sequential_test(table: AblationTable) -> str:
    """The test of the differences, up to its correction."""
    if table.analysis.sequential == "anytime":
        return (
            "t e-process on those differences, taken as normal (valid whenever one looks: p = 1 / its maximum so far), "
        )
    assert table.rounds is not None
    return (
        f"two-sided paired t-tests on those differences, taken as normal, at each look, the level spent over the looks "
        f"{_SPENDING[table.rounds.spending]}; sequential p-values, "
    )


def sequential_interval(table: AblationTable, arms: str) -> str:
    """What the intervals of the differences are.

    Args:
        arms: number of arms as text.
    """
    analysis = table.analysis
    level = f"{level_percent(analysis.alpha)} %"
    kind = "interval that holds at all numbers of seeds at once (t e-process; rows whose seeds are too few have none)"
    if analysis.sequential is None:
        kind = "repeated t-interval (which holds at all looks at once; rows between two looks have none)"
    if analysis.interval == "unadjusted":
        return f"{level} {kind}, not corrected for multiple comparisons"
    return f"simultaneous {level} {kind}, by Bonferroni: of level 1 - {analysis.alpha:g} / {arms}"


def stopped_notes(table: AblationTable) -> Iterable[str]:
    """The rows that get no further seeds, with the number of seeds at which they stopped."""
    heads = {
        "decided": "Decided at {} seeds",
        "futile": "Futile at {} seeds (an effect of the named size is hardly possible, which is no proof of none)",
        "held": "Held at {} seeds, because a trial of the row or of the baseline has no result",
    }
    for reason, head in heads.items():
        found: dict[int, list[str]] = {}
        for row in table.rows:
            if row.stopped == reason:
                name = f"{row.study}: {row.name}" if table.studies else row.name
                found.setdefault(row.num_planned, []).append(name)
        for number, names in sorted(found.items()):
            yield f"{head.format(number)}: {', '.join(names)}."


def _looks(rounds: Rounds) -> str:
    *most, last = map(str, rounds.looks)
    return f"{', '.join(most)} and {last}" if most else last


def _futile(rounds: Rounds, unit: str) -> str:
    if rounds.effect is not None:
        size = f"{rounds.effect:g} standard deviations of the differences"
    elif rounds.smallest is not None:
        size = f"{rounds.smallest:g} {unit}"
    else:
        return ""
    return f"futile (hardly different from the baseline by {size})"


def _or_equivalent(table: AblationTable) -> str:
    return " or equivalent" if table.analysis.margin is not None else ""
