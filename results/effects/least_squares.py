"""Least squares of a design with the seed as a block: one question for test, estimate and interval of a term.

Each term is asked for beyond all terms that do not contain it (type II: Langsrud, Statistics and Computing 13, 2003; as
`car::Anova` in R): its sum of squares, its estimate and the means of its levels come from the model without the terms
that contain it, its error from the residuals of the full model. So t^2 = F for every term of two levels, also where
rows are missing. In a balanced design all of this equals the estimates of the full model and the raw means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from results.effects.design_matrix import Design, Term, level_coding, term_columns
from results.stats.paired import is_rounding

__all__ = ["Fit", "LackOfFit", "TermFit", "fit_terms", "lack_of_fit"]


@dataclass(frozen=True)
class TermFit:
    """What a term adds to the terms that do not contain it.

    Attributes:
        estimate, error: effect and its standard error; None where a factor has more than two levels.
        share: partial eta squared.
        means: of a main effect, the mean and its standard error at each level, adjusted: every level of the other
            factors weighs the same; else empty.
    """

    estimate: float | None
    error: float | None
    df: int
    f_value: float
    share: float
    p: float
    means: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Fit:
    """The fitted terms, and the residuals of the full model."""

    terms: dict[Term, TermFit]
    residual_df: int
    residual_std: float


@dataclass(frozen=True)
class LackOfFit:
    """F-test of all differences between variants that the fitted terms leave, against the noise within variants."""

    f_value: float
    df: int
    noise_df: int
    p: float


def fit_terms(design: Design, terms: Sequence[Term], variants: Sequence[str], values: np.ndarray) -> Fit:
    """Fit of the terms.

    Args:
        variants: variant id of each row of `values`.
        values: (variants, seeds).
    """
    from scipy.special import fdtrc  # 0.4 s to import, only for an analysis of effects

    num_variants, num_seeds = values.shape
    # The means of the seeds, which the block explains, are taken off first: large ones would round the noise away.
    of_seeds = values.mean(axis=0)
    y = (values - of_seeds).ravel()
    # One column per seed, which together are the mean, too.
    block = np.tile(np.eye(num_seeds), (num_variants, 1))
    columns = {term: np.repeat(term_columns(design, term, list(variants)), num_seeds, axis=0) for term in terms}
    full = np.linalg.qr(np.hstack([block, *columns.values()])).Q
    residual = float(np.sum((y - full @ (full.T @ y)) ** 2))
    residual_df = len(y) - full.shape[1]
    variance = residual / residual_df
    found = {}
    for term, mine in columns.items():
        df = mine.shape[1]
        others = [columns[other] for other in terms if not set(term) <= set(other)]
        # The last columns of Q are what the term adds to the others.
        q, r = np.linalg.qr(np.hstack([block, *others, mine]))
        squares = float(np.sum((q[:, -df:].T @ y) ** 2))
        with np.errstate(divide="ignore", invalid="ignore"):  # without any noise F is infinite
            f_value = float(np.divide(squares / df, variance))
        estimate = error = None
        if all(len(design.levels[name]) == 2 for name in term):
            # Columns of two levels are -1 and +1: from one to the other is twice the coefficient.
            estimate = 2 * float(q[:, -1] @ y / r[-1, -1])
            error = 2 * math.sqrt(variance) / abs(float(r[-1, -1]))
        found[term] = TermFit(
            estimate=estimate,
            error=error,
            df=df,
            f_value=f_value,
            share=squares / (squares + residual) if squares + residual else 0.0,
            p=float(fdtrc(df, residual_df, f_value)),
            means=_level_means(design, term[0], y, q, r, of_seeds, variance) if len(term) == 1 else (),
        )
    return Fit(found, residual_df, math.sqrt(variance))


def _level_means(
    design: Design, factor: str, y: np.ndarray, q: np.ndarray, r: np.ndarray, of_seeds: np.ndarray, variance: float
) -> tuple[tuple[float, float], ...]:
    """Mean over the seeds at each level; the columns of all other terms are 0 on average over their levels."""
    coding = level_coding(len(design.levels[factor]))
    weights = np.zeros((len(coding), r.shape[0]))
    weights[:, : len(of_seeds)] = 1 / len(of_seeds)
    weights[:, -coding.shape[1] :] = coding
    spread = np.linalg.solve(r.T, weights.T)  # R^-T w, whose squares are the variance of w R^-1 Q^T y
    means = of_seeds.mean() + spread.T @ (q.T @ y)
    errors = np.sqrt(variance * np.sum(spread**2, axis=0))
    return tuple((float(mean), float(error)) for mean, error in zip(means, errors, strict=True))


def lack_of_fit(fit: Fit, values: np.ndarray) -> LackOfFit | None:
    """The test for values of shape (variants, seeds); None where the terms leave no freedom, there is one seed, or the
    noise is a rounding error."""
    from scipy.special import fdtrc

    centred = values - values.mean(axis=0)  # the means of the seeds would round the noise away
    noise = centred - centred.mean(axis=1, keepdims=True)
    noise -= noise.mean(axis=0)
    noise_df = (values.shape[0] - 1) * (values.shape[1] - 1)
    df = fit.residual_df - noise_df
    of_noise = float(np.sum(noise**2))
    if df <= 0 or noise_df <= 0 or is_rounding(math.sqrt(of_noise / noise_df), float(np.abs(values).max())):
        return None
    squares = max(0.0, fit.residual_df * fit.residual_std**2 - of_noise)
    f_value = squares / df / (of_noise / noise_df)
    return LackOfFit(f_value, df, noise_df, float(fdtrc(df, noise_df, f_value)))
