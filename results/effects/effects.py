"""Main effects and two-way interactions of a factorial or fractional design, with the seed as a block.

A grid of 2 x 2 x 2 variants estimates three effects with the seeds of one: every variant enters every main effect. The
model is ordinary least squares, the table type 2 sums of squares: each term is tested beyond all others that do not
contain it. Aliased terms are stated, never separated by assumption. Written out in numpy because statsmodels takes a
second to import; the tests compare with it.

Effects follow the convention of experimental design. For two levels: mean at the second minus mean at the first; for an
interaction: half the difference between the effect of one factor at the two levels of the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from results.effects.aliasing import aliases
from results.effects.design_matrix import Design, Term, design_of, term_columns, term_name
from results.stats.hypothesis_tests import holm
from results.stats.paired import t_quantile
from results.table.table import AblationTable
from search_space.parsing.errors import Problem, SpecError

__all__ = ["Effect", "Effects", "effects"]


@dataclass(frozen=True)
class Effect:
    """One term of the analysis.

    Attributes:
        estimate, low, high: effect and its 95 % interval; None where a factor has more than two levels.
        share: partial eta squared, the part of the variance not explained by others that this term explains.
        p_corrected: Holm over all terms of the analysis.
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
class _Found:
    estimate: float | None
    error: float | None
    df: int
    f_value: float
    share: float
    p: float


@dataclass(frozen=True)
class Effects:
    """The analysis of one table.

    Attributes:
        not_estimated: terms for which the design has no rows left, most often completely aliased ones.
        num_trials: completed trials that entered; of variants that have all seeds.
        left_out: variants that lack a seed.
    """

    metric: str
    design: Design
    effects: tuple[Effect, ...]
    not_estimated: tuple[Term, ...]
    residual_df: int
    residual_std: float
    num_trials: int
    left_out: tuple[str, ...]


def effects(table: AblationTable) -> Effects:
    """Main effects and two-way interactions on the table's metric.

    Raises:
        SpecError: no factor has two levels, or fewer trials than the analysis needs.
    """
    whole = [row for row in table.rows if row.verdict not in ("incomplete", "unequal budget") and row.num_completed]
    metric = table.metric.name
    whole = [row for row in whole if metric in row.metrics and row.metrics[metric].num == len(table.seeds)]
    design = design_of(table)
    keys = [row.variant_id for row in whole for _ in row.records]
    seeds = [record.seed for row in whole for record in row.records]
    values = [record.metrics[metric] for row in whole for record in row.records]
    variants = [row.variant_id for row in whole]
    fitted, not_estimated = _estimable(design, variants, num_free=len(values) - len(set(seeds)))
    if not fitted:
        message = f"{len(values)} complete trials are too few for the effects of {len(design.levels)} factors"
        raise SpecError(
            Problem(
                message, where=table.sweep, hint="effects need all seeds of a variant, and more trials than effects"
            )
        )
    found, residual_df, residual_std = _analyse(design, fitted, keys, seeds, values)
    pairs = aliases(design, variants)
    corrected = holm([one.p for one in found.values()], len(found))
    made = tuple(
        _effect(term, found[term], p, residual_df, _aliases_of(term, pairs))
        for term, p in zip(found, corrected, strict=True)
    )
    return Effects(
        metric=metric,
        design=design,
        effects=made,
        not_estimated=not_estimated,
        residual_df=residual_df,
        residual_std=residual_std,
        num_trials=len(values),
        left_out=tuple(row.name for row in table.rows if row not in whole),
    )


def _estimable(design: Design, variants: list[str], *, num_free: int) -> tuple[list[Term], tuple[Term, ...]]:
    """Terms that raise the rank of those before them and leave a degree of freedom for the noise; and the others.

    Main effects come first, so a main effect aliased with an interaction is reported under its own name.
    """
    fitted: list[Term] = []
    lost: list[Term] = []
    model = np.ones((len(variants), 1))
    for term in design.terms:
        wider = np.hstack([model, term_columns(design, term, variants)])
        has_mains = len(term) == 1 or all((name,) in fitted for name in term)
        if has_mains and wider.shape[1] - 1 < num_free and np.linalg.matrix_rank(wider) == wider.shape[1]:
            model = wider
            fitted.append(term)
        else:
            lost.append(term)
    return fitted, tuple(lost)


def _analyse(
    design: Design, terms: Sequence[Term], keys: Sequence[str], seeds: Sequence[int], values: Sequence[float]
) -> tuple[dict[Term, _Found], int, float]:
    """The fit and its type 2 table; degrees of freedom and standard deviation of the residuals."""
    from scipy.special import fdtrc  # 0.4 s to import, only for an analysis of effects

    y = np.array(values)
    # One column per seed, which together are the mean, too.
    block = np.equal.outer(seeds, sorted(set(seeds))).astype(float)
    columns = {term: term_columns(design, term, list(keys)) for term in terms}
    matrix = np.hstack([block, *columns.values()])
    q, r = np.linalg.qr(matrix)
    coefficients = np.linalg.solve(r, q.T @ y)
    residual = float(np.sum((y - matrix @ coefficients) ** 2))
    residual_df = len(y) - matrix.shape[1]
    errors = np.sqrt(residual / residual_df * np.sum(np.linalg.inv(r) ** 2, axis=1))
    found = {}
    start = block.shape[1]
    for term, mine in columns.items():
        others = [columns[other] for other in terms if not set(term) <= set(other)]
        # The last columns of Q are what the term adds to the others.
        added = np.linalg.qr(np.hstack([block, *others, mine])).Q[:, -mine.shape[1] :]
        squares = float(np.sum((added.T @ y) ** 2))
        df = mine.shape[1]
        with np.errstate(divide="ignore", invalid="ignore"):  # without any noise F is infinite
            f_value = float(np.divide(squares / df, residual / residual_df))
        # Columns of two levels are -1 and +1: from one to the other is twice the coefficient.
        is_two_level = all(len(design.levels[name]) == 2 for name in term)
        found[term] = _Found(
            estimate=2 * float(coefficients[start]) if is_two_level else None,
            error=2 * float(errors[start]) if is_two_level else None,
            df=df,
            f_value=f_value,
            share=squares / (squares + residual) if squares + residual else 0.0,
            p=float(fdtrc(df, residual_df, f_value)),
        )
        start += df
    return found, residual_df, math.sqrt(residual / residual_df)


def _effect(term: Term, found: _Found, p_corrected: float, df: int, aliased_with: Mapping[Term, float]) -> Effect:
    low = high = None
    if found.estimate is not None and found.error is not None:
        half = t_quantile(df) * found.error
        low, high = found.estimate - half, found.estimate + half
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


def _aliases_of(term: Term, pairs: Mapping[tuple[Term, Term], float]) -> dict[Term, float]:
    return {other if term == one else one: size for (one, other), size in pairs.items() if term in (one, other)}
