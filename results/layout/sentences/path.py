"""Steps of a greedy path as texts: the cells of its tables, and what caption and notes of the ablation table say of it.

Numbers are those of `results/effects/path.py`, which needs scipy: it is imported only for tables of this design.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from results.stats.numbers import delta_texts, fixed, level_percent, signed
from results.stats.paired import PairedDelta
from results.table.asked.path import PathSteps
from results.table.table import AblationTable
from search_space.parsing.visible import visible

if TYPE_CHECKING:
    from results.effects.path import PathEffects, StepGain

__all__ = [
    "choice_cells",
    "choice_heads",
    "choice_statement",
    "path_cells",
    "path_heads",
    "path_notes",
    "path_sentences",
    "path_statements",
]


def path_sentences(table: AblationTable) -> Iterable[str]:
    """Which seeds chose and which judged, for the caption."""
    for part in table.parts:
        path = part.path
        if path is None:
            continue
        of = f" of {part.rows[0].study}" if table.studies and part.rows else ""
        rows = ", then the combinations that it is compared with" if path.compares else ""
        yield (
            f"Greedy path{of}: {_seeds(path.choosing)} chose what is added at each step, and {_are(path.choosing)} in "
            f"no mean, difference or test here; {_seeds(path.judging)} judged, and chose nothing. Rows: the path in "
            f"its order{rows}."
        )


def path_heads(table: AblationTable) -> tuple[str, ...]:
    """Heads of the columns of `path_cells`."""
    unit = f" ({table.metric.unit})" if table.metric.unit else ""
    level = level_percent(table.analysis.alpha)
    names = (f"gain{unit}", f"{level} % interval", f"p ({_correction(table)})", "verdict", "seeds")
    return ("step", "component", *names, "gain at the choosing seeds", "alone", "beside all others")


def path_cells(table: AblationTable, found: PathEffects) -> list[tuple[str, ...]]:
    """One line per step, and one of all together once the path is whole."""
    assert table.path is not None, "a table of another design"
    lines = [_line(one, table, table.path) for one in found.steps]
    if found.whole is not None:
        seeds = f"{found.whole.num_pairs}/{len(table.path.judging)}"
        amount = delta_texts(found.whole, table.metric.decimals)
        lines.append(("", "sum: all on minus all off", *amount, "", "", seeds, "", "", ""))
    return lines


def path_statements(table: AblationTable, found: PathEffects) -> list[str]:
    """How steps are chosen and judged, what they agree with, and where the path ends."""
    path = table.path
    assert path is not None, "a table of another design"
    level = level_percent(table.analysis.alpha)
    said = [
        f"Greedy path: each step adds the component with the best mean {table.metric.name} over "
        f"{_seeds(path.choosing)}; its gain is measured at {_seeds(path.judging)} alone, which chose nothing: mean of "
        f"the same-seed differences to the step before [{level} % t-interval, unadjusted]; p-values "
        f"{_corrected(table)}."
    ]
    if any(one.choosing_gain is not None for one in found.steps):
        said.append(
            "The gain at the choosing seeds is a difference of values that made both combinations the best of several: "
            "selection flatters them, so it is no estimate of what the step adds."
        )
    if path.compares:
        said.append(
            "Alone is the gain over no component, as add_one_in measures it; beside all others is the gain that "
            f"leave_one_out measures.{_agreement(found)}"
        )
    return [*said, *_lacking(path)]


def choice_heads(table: AblationTable) -> tuple[str, ...]:
    """Heads of the columns of `choice_cells`."""
    unit = f" ({table.metric.unit})" if table.metric.unit else ""
    return ("step", "candidate", f"mean {table.metric.name}{unit} at the choosing seeds", "seeds", "")


def choice_cells(table: AblationTable) -> list[tuple[str, ...]]:
    """The candidates of every step that was a choice: one line each, the chosen one marked."""
    path = table.path
    assert path is not None, "a table of another design"
    return [
        (
            str(number),
            visible(each.name),
            "" if each.mean is None else fixed(each.mean, table.metric.decimals),
            f"{len(each.values)}/{len(path.choosing)}",
            "chosen" if each is step.chosen else visible(each.lacking),
        )
        for number, step in enumerate(path.steps, start=1)
        if step.is_choice
        for each in step.candidates
    ]


def choice_statement(path: PathSteps) -> str:
    """What the table of the candidates shows."""
    return (
        f"Means over {_seeds(path.choosing)}; the best one is chosen, of equal ones the first in the file. They are "
        "not judged: a candidate without a value at every choosing seed cannot be chosen."
    )


def path_notes(table: AblationTable) -> Iterable[str]:
    """Notes below the ablation table: how, and a sentence for each step."""
    for part in table.parts:
        if part.path is None:
            continue
        from results.effects.path import path_effects  # here, because it needs scipy and few tables do

        found = path_effects(part)
        of = f"{part.rows[0].study}: " if table.studies and part.rows else ""
        yield from (of + text for text in path_statements(part, found))
        yield from (of + _sentence(one, part) for one in found.steps)


def _sentence(one: StepGain, table: AblationTable) -> str:
    decimals = table.metric.decimals
    head = f"Step {one.place}: {visible(one.component)}"
    if one.gain is None:
        return f"{head}: no seed with both rows so far."
    parts = [" ".join(delta_texts(one.gain, decimals)).strip()]
    parts += [] if one.p_corrected is None else [f"p = {one.p_corrected:.2g}"]
    parts += [] if one.verdict is None else [one.verdict]
    if one.choosing_gain is not None:
        parts.append(f"{signed(one.choosing_gain, decimals)} at the choosing seeds")
    designs = ((one.alone, "alone (add_one_in)"), (one.in_full, "beside all others (leave_one_out)"))
    parts += [f"{signed(delta.mean, decimals)} {name}" for delta, name in designs if delta is not None]
    return f"{head}: {', '.join(parts)}."


def _line(one: StepGain, table: AblationTable, path: PathSteps) -> tuple[str, ...]:
    decimals = table.metric.decimals
    num = 0 if one.gain is None else one.gain.num_pairs
    others: Sequence[PairedDelta | None] = (one.alone, one.in_full)
    return (
        str(one.place),
        visible(one.component),
        *(("", "") if one.gain is None else delta_texts(one.gain, decimals)),
        "" if one.p_corrected is None else f"{one.p_corrected:.2g}",
        one.verdict or "",
        f"{num}/{len(path.judging)}",
        "" if one.choosing_gain is None else signed(one.choosing_gain, decimals),
        *("" if delta is None else " ".join(delta_texts(delta, decimals)).strip() for delta in others),
    )


def _agreement(found: PathEffects) -> str:
    """Rank agreement of the gains on the path with both others."""
    taus = ((found.tau_alone, "alone"), (found.tau_in_full, "beside all others"))
    known = [f"{tau:.2f} with those {name}" for tau, name in taus if tau is not None]
    if not known:
        return ""
    return f" Kendall's tau of the gains on the path: {' and '.join(known)} (1: the same order, -1: the reverse)."


def _lacking(path: PathSteps) -> Iterable[str]:
    """Candidates that could not be chosen, and a path that ended early or goes on."""
    for number, step in enumerate(path.steps, start=1):
        lacking = [f"{visible(each.name)} ({visible(each.lacking)})" for each in step.candidates if each.lacking]
        if lacking:
            yield f"Not to be chosen at step {number}: {'; '.join(lacking)}."
    done, whole = len(path.taken), len(path.components)
    if path.ended:
        yield f"The path ends after {done} of {whole} steps: {path.ended}."
    elif done < whole:
        yield f"The path goes on: {done} of {whole} steps are chosen so far."


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s'[: len(seeds) - 1]} {', '.join(map(str, seeds))}"


def _are(seeds: Sequence[int]) -> str:
    return "is" if len(seeds) == 1 else "are"


def _correction(table: AblationTable) -> str:
    from results.stats.hypothesis_tests import CORRECTION_NAMES

    return CORRECTION_NAMES[table.analysis.correction]


def _corrected(table: AblationTable) -> str:
    name = _correction(table)
    return name if table.analysis.correction == "none" else f"corrected over the steps ({name})"
