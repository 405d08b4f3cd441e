"""Caption of an ablation table: meaning of its numbers, by the items of reviewers' checklists.

Seeds and their role; definition of the error bars; the test and its correction; evaluated weights and data; epochs;
compute and hardware. All of it is taken from the table.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from results.layout.blocks import (
    costs_of_blocks,
    data_of_folds,
    delta_text,
    has_differences_of_blocks,
    interval_text,
    lengths_of_blocks,
    mean_text,
    pair_notes,
    test_text,
)
from results.layout.compute import compute_sentences
from results.layout.sentences.before_results import planned_first, tuning_sentences
from results.layout.sentences.path import path_sentences
from results.layout.sentences.rounds import rounds_sentences, sequential_interval, sequential_test
from results.layout.sentences.seed_sources import draws_test_splits
from results.layout.trained_by import selection_text, trained_by
from results.stats.numbers import level_percent
from results.store.records import CONTINUED_NOTE
from results.table.table import AblationTable
from search_space.settings.table_columns import of_metric

__all__ = ["DELTA", "PLUS_MINUS", "Sentence", "accuracy_error", "caption", "interval_name", "significance_stars"]

PLUS_MINUS = "\u00b1"
DELTA = "\u0394"
_MOST_SEEDS = 20
_LEVELS = (0.01, 0.001)
_CORRECTIONS = {"holm": "corrected after Holm", "bh": "corrected after Benjamini and Hochberg", "none": "not corrected"}


@dataclass(frozen=True)
class Sentence:
    """Sentence of the caption, and the part of the table that it refers to.

    `table`: any; `spread`: the standard deviations of the differences; `changes`: those of cost; `print`: bold and
    underlined print.
    """

    text: str
    refers_to: Literal["table", "spread", "changes", "print"] = "table"


def caption(table: AblationTable, shown: Collection[str] | None = None) -> tuple[Sentence, ...]:
    """Sentences of the caption, the most important first.

    Args:
        shown: names of the columns of the table; None: all that it has something for. Sentences that explain others
            are left out. Stars, verdicts and bold print rest on the test of the differences, which is then stated.
    """
    is_shown = _EVERYTHING if shown is None else shown
    ranks = table.metric.name in is_shown and any(row.verdict in ("better", "worse") for row in table.rows)
    compares = ranks or any(name in is_shown for name in _COMPARING) or any(map(of_metric, shown or ()))
    compares = compares or has_differences_of_blocks(table, shown)
    return (
        Sentence(_means(table)),
        *map(Sentence, _data(table)),
        *map(Sentence, trained_by(table)),
        *map(Sentence, _continued(table)),
        *map(Sentence, tuning_sentences(table)),
        *map(Sentence, rounds_sentences(table)),
        *map(Sentence, path_sentences(table)),
        *(_deltas(table, is_shown) if compares else ()),
        *(_tests(table, is_shown) if compares else ()),
        *map(Sentence, planned_first(table)),
        *_costs(table, is_shown),
        *map(Sentence, compute_sentences(table)),
    )


class _Everything(Container[str]):
    """Contains every name."""

    def __contains__(self, name: object) -> bool:
        return True


_EVERYTHING = _Everything()
_COMPARING = (
    *("delta", "interval", "delta_std", "delta_test_error", "verdict"),
    *("p", "p_corrected", "p_equivalence", "p_equivalence_corrected"),
)


def significance_stars(p_corrected: float | None, alpha: float) -> str:
    """Stars of a corrected p-value: one below alpha, two below 0.01, three below 0.001."""
    if p_corrected is None or p_corrected >= alpha:
        return ""
    return "*" * (1 + sum(p_corrected < level for level in _LEVELS if level < alpha))


def _means(table: AblationTable) -> str:
    seeds = _seeds_text(table.seeds)
    metric = table.metric
    better = "higher" if metric.direction == "maximize" else "lower"
    unit = f"{metric.unit}, " if metric.unit else ""
    if table.blocks is not None:
        over = mean_text(table.blocks, seeds)
    elif not table.seeds:
        over = f"mean {PLUS_MINUS} standard deviation (n - 1) over the completed seeds of each run"
    elif len(table.seeds) == 1:
        over = f"of a single seed ({seeds}), so there is no standard deviation"
    else:
        over = f"mean {PLUS_MINUS} standard deviation (n - 1) over the completed seeds (planned: {seeds})"
    length = f"{table.steps} updates" if table.steps else f"{table.epochs} epochs" if table.epochs else ""
    length = length or lengths_of_blocks(table)
    epochs = _varies(table, "train.steps") or _varies(table, "train.epochs") or length
    dataset = _varies(table, "task.dataset") or table.dataset
    setting = ", ".join(part for part in (dataset, epochs) if part)
    return (
        f"{metric.name} ({unit}{better} is better): {over}, {selection_text(table)}"
        + _averaged(table)
        + (f"; {setting}." if setting else ".")
    )


def _data(table: AblationTable) -> Iterable[str]:
    """Images of the splits, what a constant answer reaches, and what is odd about the data."""
    if table.data and table.blocks is not None and table.blocks.is_resampled:
        yield data_of_folds(table.data, table.blocks)
        for note in dict.fromkeys(note for each in table.data for note in each.notes):
            yield f"Data: {note}."
        return
    for each in table.data:
        name = f" of {each.dataset}" if len(table.data) > 1 else ""
        splits = (("training", each.train_images), ("validation", each.val_images), ("test", each.test_images))
        *most, last = [f"{count} {split}" for split, count in splits if count or split != "validation"]
        unit = "texts" if each.labelled == "texts" else "images"
        labels = f"of {each.num_classes} classes" if each.num_classes else "with a number each"
        text = f"Data{name}: {', '.join(most)} and {last} {unit} {labels}"
        if each.majority is not None and each.majority_class is None:  # else a footnote states that of the training
            text += f"; the most frequent class is {100 * each.majority:.1f} % of the test {each.labelled}"
        yield f"{text}."
        for note in each.notes:
            yield f"Data{name}: {note}."


def _seeds_text(seeds: Sequence[int]) -> str:
    """Seeds as text: a list, or `0 to 999` for many consecutive ones."""
    if len(seeds) > _MOST_SEEDS and sorted(seeds) == list(range(min(seeds), min(seeds) + len(seeds))):
        return f"{min(seeds)} to {max(seeds)}"
    return ", ".join(map(str, seeds))


def _averaged(table: AblationTable) -> str:
    """Note that trials evaluate averaged weights although the selection rule is not `ema`."""
    decays = {record.spec.get("train", {}).get("ema_decay") for row in table.rows for record in row.records} - {None}
    if not decays or table.analysis.selection == "ema":
        return ""
    values = ", ".join(f"{decay:g}" for decay in sorted(decays))
    which = _varies(table, "train.ema_decay")
    return f", of averaged weights ({which or f'decay {values}'})"


def _varies(table: AblationTable, path: str) -> str:
    """Text for a parameter that varies, if a row changes the path or one of its parents; else empty."""
    changed = any(path == key or path.startswith(f"{key}.") for row in table.rows for key in row.changes)
    return f"{path} as given in the row" if changed else ""


def _continued(table: AblationTable) -> Iterable[str]:
    """Trainings that are not from scratch, but continue others."""
    rows = {
        note: dict.fromkeys(row.name for row in table.rows for each in row.records if note in each.notes)
        for note in dict.fromkeys(note for row in table.rows for each in row.records for note in each.notes)
        if note.startswith(CONTINUED_NOTE)
    }
    for note, names in rows.items():
        which = "" if len(names) == len(table.rows) else f" ({', '.join(names)})"
        yield f"C{note[1:]}{which}."


def _deltas(table: AblationTable, shown: Container[str]) -> Iterable[Sentence]:
    deltas = [row.delta for row in table.rows if row.delta is not None]
    if not deltas or table.baseline is None:
        return
    baselines = {part.baseline.name for part in table.parts if part.baseline is not None}
    to = "the baseline of each run" if table.studies else repr(table.baseline.name)
    if table.studies and len(baselines) == 1:
        to = f"{table.baseline.name!r} of the same run"
    note = f"{DELTA}: mean of the same-seed differences to {to}"
    of_each = ""
    if table.blocks is not None:
        note = f"{DELTA}: {delta_text(table.blocks, to)}"
        if not table.blocks.is_resampled or (isinstance(shown, Collection) and has_differences_of_blocks(table, shown)):
            level = level_percent(table.analysis.alpha)
            of_each = f"; {DELTA}@BLOCK: mean within that block, in brackets its {level} % t-interval over its seeds"
    if any(delta.low is not None for delta in deltas):
        note += f", in brackets its {interval_name(table)}"
    if any(delta.low is None for delta in deltas) and not any(delta.is_of_unlike for delta in deltas):
        note += f"; a single {'pair' if table.blocks is None else 'block'} has no interval"
    yield Sentence(f"{note}{of_each}.")
    has_interval = "delta" in shown or "interval" in shown
    if has_interval and any(delta.low is not None for delta in deltas):
        yield Sentence(_coverage(table))
    yield from map(Sentence, _image_errors(table))
    yield from map(Sentence, pair_notes(table, has_differences_of_each=bool(of_each)))
    if "delta_std" in shown and any(delta.std is not None for delta in deltas):
        spread = (
            f"SD {DELTA}: standard deviation of those differences; below the arms' own where pairing by seed helps."
            if table.blocks is None
            else f"SD {DELTA}: standard deviation of the differences of the blocks."
        )
        yield Sentence(spread, "spread")


def interval_name(table: AblationTable) -> str:
    """What the intervals of the differences are, as text."""
    analysis = table.analysis
    level = f"{level_percent(analysis.alpha)} %"
    if table.blocks is not None:
        by = "unadjusted: not corrected for multiple comparisons"
        if analysis.interval == "simultaneous":
            by = f"simultaneous by Bonferroni: of level 1 - {analysis.alpha:g} / {_arms_text(table)}"
        return f"{level} {interval_text(table.blocks)}; {by})"
    if table.is_sequential:
        return sequential_interval(table, _arms_text(table))
    if analysis.interval == "unadjusted":
        return f"{level} t-interval (n - 1 degrees of freedom, unadjusted: not corrected for multiple comparisons)"
    by = f"Bonferroni: of level 1 - {analysis.alpha:g} / {_arms_text(table)}"
    if analysis.correction == "dunnett":
        by = "Dunnett's, with the seed as a block; rows that lack seeds have none"
    return f"simultaneous {level} interval ({by})"


def _coverage(table: AblationTable) -> str:
    """What the intervals cover, and the sampling error of the test set, which they do not."""
    if table.is_foreign or table.imported:
        return "Intervals cover the choice of the seeds, and nothing that the training keeps fixed."
    if table.blocks is not None:
        return "Intervals cover the choice of the images to train and to test on, of which the blocks are samples."
    if draws_test_splits(table.seed_sources):
        return "Intervals cover the choice of what a seed decides, with test splits of these images, not other images."
    chosen = "the training seeds" if table.seed_sources is None else "what a seed decides"
    text = f"Intervals cover the choice of {chosen} for this fixed test set, not that of other test images"
    baseline = table.baseline
    shown = baseline.metrics.get(table.metric.name) if baseline is not None else None
    error = None if shown is None else accuracy_error(shown.mean, table)
    if shown is None or error is None:
        return f"{text}."
    mean, unit = f"{shown.mean:.{table.metric.decimals}f}", table.metric.unit
    return (
        f"{text}: of {table.num_test_images} images, which give an accuracy of {mean} {unit} a standard error of "
        f"{error:.{table.metric.decimals}f} {unit}."
    )


def _image_errors(table: AblationTable) -> Iterable[str]:
    """The range of the sampling errors of the differences over the test images, where predictions are kept."""
    arms = [row for row in table.rows if not row.is_baseline]
    errors = sorted(row.image_error for row in arms if row.image_error is not None)
    if not errors:
        return
    decimals, unit = table.metric.decimals, table.metric.unit
    ends = list(dict.fromkeys(f"{error:.{decimals}f}" for error in (errors[0], errors[-1])))
    images = f"{table.num_test_images} images" if table.num_test_images else "images"
    lacking = "" if len(errors) == len(arms) else f" ({len(errors)} of {len(arms)} arms; the others lack predictions)"
    yield (
        f"Sampling error of this test set, paired over its {images}: {DELTA} has a standard error of "
        f"{' to '.join(ends)} {unit}{lacking}, for these trained models; it is in no interval."
    )


def accuracy_error(mean: float, table: AblationTable) -> float | None:
    """Standard error of an accuracy as a share of the test images, in percent; None for other metrics, and without
    the number of images. An upper bound for a mean over seeds, and of no use for differences on the same images."""
    if not table.metric.is_of_images or not table.num_test_images or not 0 <= mean <= 100:
        return None
    return math.sqrt(mean * (100 - mean) / table.num_test_images)


def _arms_text(table: AblationTable) -> str:
    """Number of arms of each study: `4 arms`, `2, 4 arms of each study`."""
    studies = Counter(row.study for row in table.rows if not row.is_baseline)
    arms = ", ".join(map(str, sorted(set(studies.values()))))
    of = f" of each {'run' if table.studies else 'study'}" if len(studies) > 1 else ""
    return f"{arms} {'arm' if arms == '1' else 'arms'}{of}"


def _tests(table: AblationTable, shown: Container[str]) -> Iterable[Sentence]:
    if not table.has_tests:
        return
    analysis = table.analysis
    if table.blocks is not None:
        test = test_text(table.blocks) + f"{_CORRECTIONS[analysis.correction]} for {_arms_text(table)}"
    elif analysis.correction == "dunnett":
        test = "Dunnett's test of all complete arms with the baseline (two-sided, the seed as a block), "
        test += f"corrected for {_arms_text(table)}"
    else:
        test = "two-sided paired t-test on those differences, taken as normal, "
        if table.is_sequential:
            test = sequential_test(table)
        test += f"{_CORRECTIONS[analysis.correction]} for {_arms_text(table)}"
    if table.studies and analysis.correction != "none":
        test += " and not for the table as a whole"
    p = "p"
    if analysis.correction == "bh":
        p = "q"
        test += f", which bounds the false discovery rate ({100 * analysis.alpha:g} % of the claims, on average)"
    levels = [f"* {p} < {analysis.alpha:g}"]
    levels += [f"{'*' * count} {p} < {level:g}" for count, level in enumerate(_below(analysis.alpha), start=2)]
    yield Sentence(f"Verdict: {test}; {', '.join(levels)}; inconclusive does not mean equal.")
    if analysis.margin is not None:
        yield Sentence(_equivalence(table, p))
    if table.metric.name not in shown:
        return
    marks = (
        "Bold: the largest gain, underlined: the second largest, among the complete rows whose verdict is better (the "
        "baseline, where all others are worse); not a claim that it beats the others, and its difference is biased "
        "upwards by the choice."
    )
    yield Sentence(marks, "print")


def _equivalence(table: AblationTable, p: str) -> str:
    analysis = table.analysis
    margin = f"{PLUS_MINUS}{analysis.margin:g} {table.metric.unit}, the margin stated in the sweep"
    if analysis.correction == "dunnett":
        level = level_percent(analysis.alpha)
        return f"= equivalent: the simultaneous {level} % interval of Dunnett's test is within {margin}."
    if table.is_sequential:
        return f"= equivalent: the interval corrected as the tests are is within {margin}."
    kind = "t-tests" if table.blocks is None else "corrected resampled t-tests"
    test = f"= equivalent: two one-sided {kind} (TOST) against {margin}; {p} < {analysis.alpha:g}"
    if analysis.correction == "none":
        return f"{test}, not corrected for the number of arms."
    return f"{test}, corrected together with the p-values of the differences."


def _below(alpha: float) -> tuple[float, ...]:
    return tuple(level for level in _LEVELS if level < alpha)


def _costs(table: AblationTable, shown: Container[str]) -> Iterable[Sentence]:
    parts = []
    if "params_m" in shown and any(row.params_m is not None for row in table.rows):
        parts.append("params: millions")
    is_chosen = shown is not _EVERYTHING and any(row.trainable_params_m is not None for row in table.rows)
    if "trainable_params_m" in shown and (is_chosen or any(row.is_partly_frozen for row in table.rows)):
        parts.append("trainable: millions of parameters that the training changes")
    if "gmacs" in shown and any(row.gmacs is not None for row in table.rows):
        parts.append(
            "GMACs: 10^9 multiply-accumulates for one image (1 MAC = 2 FLOPs; matmul, convolution and attention only)"
        )
    if "train_seconds" in shown and any(row.train_seconds is not None for row in table.rows):
        parts.append("train: mean seconds of optimisation")
    if parts:
        yield Sentence("; ".join([*parts, *costs_of_blocks(table, shown)]) + ".")
    if any(cost in shown for row in table.rows for cost in row.cost_changes):
        yield Sentence("Brackets behind a cost: its change against the baseline.", "changes")
