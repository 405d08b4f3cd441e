"""Main effects and two-way interactions of a factorial or fractional design, with the seed as a block.

A grid of 2 x 2 x 2 variants estimates three effects with the seeds of one: every variant enters every main effect. The
model is ordinary least squares (least_squares.py), each term tested and estimated beyond all others that do not contain
it. Aliased terms are stated, never separated by assumption. Written out in numpy because statsmodels takes a second to
import; the tests compare with it.

Effects follow the convention of experimental design. For two levels: mean at the second minus mean at the first; for an
interaction: half the difference between the effect of one factor at the two levels of the other. Level of the intervals
and correction are those of the sweep's `analysis`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from results.effects.aliasing import aliases
from results.effects.design_matrix import Design, Term, design_of, term_columns, term_name
from results.effects.least_squares import LackOfFit, TermFit, fit_terms, lack_of_fit
from results.stats.hypothesis_tests import CORRECTIONS
from results.stats.paired import is_rounding
from results.stats.t_distributions import t_critical
from results.table.comparison import budgets
from results.table.table import AblationTable, Row
from search_space.parsing.errors import Problem, SpecError

__all__ = ["Effect", "Effects", "LevelMean", "effects"]


@dataclass(frozen=True)
class Effect:
    """One term of the analysis.

    Attributes:
        estimate, low, high: effect and its interval of level 1 - alpha; None where a factor has more than two levels.
        share: partial eta squared, the part of the variance not explained by others that this term explains.
        p_corrected: for all terms of the analysis.
        aliased_with: terms that the design does not separate from this one, or only in part (correlation).
    """

    term: Term
    estimate: float | None
    low: float | None
    high: float | None
    df: int
    f_value: float
    share: float
    p: float
    p_corrected: float
    aliased_with: Mapping[Term, float]

    @property
    def name(self) -> str:
        return term_name(self.term)


@dataclass(frozen=True)
class LevelMean:
    """Adjusted mean at one level of a factor with its interval; `num_trials` were at that level."""

    level: str
    mean: float
    low: float
    high: float
    num_trials: int


@dataclass(frozen=True)
class Effects:
    """The analysis of one table.

    Attributes:
        design: levels of the variants that entered.
        level_means: factor -> its levels, for main effects that are estimated.
        not_estimated: terms for which the design has no rows left, most often completely aliased ones.
        single_level: factors of which only one level is left in the variants that entered.
        num_trials: completed trials that entered; of variants that have all seeds.
        left_out: variants that lack a seed, or were trained for another number of epochs.
        lack_of_fit: test of what the terms leave; None where it is not defined.
    """

    metric: str
    design: Design
    effects: tuple[Effect, ...]
    level_means: Mapping[str, tuple[LevelMean, ...]]
    not_estimated: tuple[Term, ...]
    single_level: tuple[str, ...]
    residual_df: int
    residual_std: float
    num_trials: int
    left_out: tuple[str, ...]
    lack_of_fit: LackOfFit | None


def effects(table: AblationTable) -> Effects:
    """Main effects and two-way interactions on the table's metric.

    Raises:
        SpecError: no factor has two levels, fewer trials than the analysis needs, or values without any noise.
    """
    if table.blocks is not None:
        message = "effects are not estimated for a design with blocks: its trials are no independent replicates"
        raise SpecError(Problem(message, where=table.sweep, hint="the table has the differences within the blocks"))
    planned = design_of(table)
    whole = _entering(table)
    if not whole:
        message = "no variant has completed all its seeds: there are no effects to estimate"
        raise SpecError(Problem(message, where=table.sweep))
    design = design_of(table, whole)
    variants = [row.variant_id for row in whole]
    values = np.array([[record.metrics[table.metric.name] for record in row.records] for row in whole])
    fitted, not_estimated = _estimable(design, variants, num_seeds=values.shape[1], sweep=table.sweep)
    fit = fit_terms(design, fitted, variants, values)
    if is_rounding(fit.residual_std, float(np.abs(values).max())):
        message = "seeds and effects explain every value, so that no noise is left to test effects against"
        raise SpecError(Problem(message, where=table.sweep))
    pairs = aliases(design, variants)
    alpha = table.analysis.alpha
    corrected = CORRECTIONS[table.analysis.correction]([one.p for one in fit.terms.values()], len(fitted), None)
    half = t_critical(alpha, fit.residual_df)
    return Effects(
        metric=table.metric.name,
        design=design,
        effects=tuple(
            _effect(term, fit.terms[term], p, half, _aliases_of(term, pairs))
            for term, p in zip(fit.terms, corrected, strict=True)
        ),
        level_means={
            term[0]: _level_means(design, term[0], variants, one, half, values.shape[1])
            for term, one in fit.terms.items()
            if one.means
        },
        not_estimated=not_estimated,
        single_level=tuple(name for name in planned.levels if name not in design.levels),
        residual_df=fit.residual_df,
        residual_std=fit.residual_std,
        num_trials=values.size,
        left_out=tuple(row.name for row in table.rows if row not in whole),
        lack_of_fit=lack_of_fit(fit, values),
    )


def _entering(table: AblationTable) -> list[Row]:
    """Rows with a value for every seed, of the baseline's number of epochs; if it has none, of the most common one."""
    metric = table.metric.name
    whole = [
        row
        for row in table.rows
        if row.num_completed == row.num_planned and metric in row.metrics and row.metrics[metric].num == row.num_planned
    ]
    if not whole:
        return []
    baseline = table.baseline
    if baseline is not None and baseline.num_completed:
        budget = budgets(baseline)
    else:
        budget = Counter(budgets(row) for row in whole).most_common(1)[0][0]
    return [row for row in whole if budgets(row) == budget]


def _estimable(
    design: Design, variants: list[str], *, num_seeds: int, sweep: str
) -> tuple[list[Term], tuple[Term, ...]]:
    """Terms that raise the rank of those before them and leave a degree of freedom for the noise; and the others.

    Main effects come first, so a main effect aliased with an interaction is reported under its own name.

    Raises:
        SpecError: too few trials for the main effects; one that is not fitted would be taken for noise.
    """
    num_free = (len(variants) - 1) * num_seeds
    fitted: list[Term] = []
    lost: list[Term] = []
    model = np.ones((len(variants), 1))
    for term in design.terms:
        wider = np.hstack([model, term_columns(design, term, variants)])
        has_mains = len(term) == 1 or all((name,) in fitted for name in term)
        is_separate = has_mains and np.linalg.matrix_rank(wider) == wider.shape[1]
        leaves_noise = wider.shape[1] - 1 < num_free
        if is_separate and leaves_noise:
            model = wider
            fitted.append(term)
        elif is_separate and len(term) == 1:
            num_trials = len(variants) * num_seeds
            message = f"{num_trials} complete trials are too few for the effects of {len(design.levels)} factors"
            hint = "effects need all seeds of a variant, and more trials than effects"
            raise SpecError(Problem(message, where=sweep, hint=hint))
        else:
            lost.append(term)
    return fitted, tuple(lost)


def _effect(term: Term, found: TermFit, p_corrected: float, half: float, aliased_with: Mapping[Term, float]) -> Effect:
    low = high = None
    if found.estimate is not None and found.error is not None:
        low, high = found.estimate - half * found.error, found.estimate + half * found.error
    return Effect(
        term=term,
        estimate=found.estimate,
        low=low,
        high=high,
        df=found.df,
        f_value=found.f_value,
        share=found.share,
        p=found.p,
        p_corrected=p_corrected,
        aliased_with=aliased_with,
    )


def _level_means(
    design: Design, factor: str, variants: list[str], found: TermFit, half: float, num_seeds: int
) -> tuple[LevelMean, ...]:
    counts = Counter(design.runs[key][factor] for key in variants)
    return tuple(
        LevelMean(level, mean, mean - half * error, mean + half * error, counts[index] * num_seeds)
        for index, (level, (mean, error)) in enumerate(zip(design.levels[factor], found.means, strict=True))
    )


def _aliases_of(term: Term, pairs: Mapping[tuple[Term, Term], float]) -> dict[Term, float]:
    return {other if term == one else one: size for (one, other), size in pairs.items() if term in (one, other)}
