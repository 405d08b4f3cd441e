"""Which effects a design cannot tell apart, read off its actual rows: also where variants were dropped or never ran.

Two terms are aliased as far as their columns point the same way: the largest canonical correlation of the two, after
the mean is taken out. 1 is complete (a half fraction: only their sum can be estimated), 0 is none (a full grid), and
Plackett-Burman designs have 1/3 between a main effect and most two-way interactions. Interactions of three and more
factors are taken as absent throughout.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from results.design_matrix import Design, Term, design_of, term_columns, term_name
from results.table import AblationTable

__all__ = ["COMPLETE", "alias_statements", "aliases"]

COMPLETE = 1 - 1e-9
_NONE = 1e-9
_MOST_LISTED = 12


def aliases(design: Design, variants: list[str] | None = None) -> dict[tuple[Term, Term], float]:
    """Pairs of terms (main effects and two-way interactions) -> how far they are aliased, above 0 up to 1.

    Args:
        variants: the rows that count; default: all of the design.
    """
    rows = list(design.runs) if variants is None else variants
    bases = {term: _basis(term_columns(design, term, rows)) for term in design.terms}
    found = {}
    for one, other in itertools.combinations(design.terms, 2):
        if bases[one].size and bases[other].size:
            size = float(np.linalg.norm(bases[one].T @ bases[other], ord=2))
            if size > _NONE:
                found[one, other] = min(1.0, size)
    return found


def alias_statements(table: AblationTable) -> tuple[str, ...]:
    """The aliases of the table's design in words: `a = b : c`; one line for all partial ones of the same size."""
    pairs = aliases(design_of(table))
    return (*_complete(pairs), *_partial(pairs))


def _complete(pairs: Mapping[tuple[Term, Term], float]) -> Iterator[str]:
    """Chains of terms that are one and the same column."""
    chains: list[list[Term]] = []
    for (one, other), size in pairs.items():
        if size < COMPLETE:
            continue
        chain = next((chain for chain in chains if one in chain or other in chain), None)
        if chain is None:
            chains.append([one, other])
        else:
            chain += [term for term in (one, other) if term not in chain]
    listed = [" = ".join(map(term_name, chain)) for chain in chains]
    if len(listed) > _MOST_LISTED:
        listed = [*listed[:_MOST_LISTED], f"and {len(listed) - _MOST_LISTED} more chains"]
    if listed:
        yield "; ".join(listed)


def _partial(pairs: Mapping[tuple[Term, Term], float]) -> Iterator[str]:
    sizes: dict[str, list[tuple[Term, Term]]] = {}
    for pair, size in pairs.items():
        if size < COMPLETE:
            sizes.setdefault(f"{size:.2f}", []).append(pair)
    for size, found in sorted(sizes.items(), reverse=True):
        if len(found) <= 4:
            listed = "; ".join(f"{term_name(one)} with {term_name(other)}" for one, other in found)
        else:
            with_main = sum(len(one) == 1 or len(other) == 1 for one, other in found)
            listed = f"{len(found)} pairs of terms, {with_main} of them with a main effect"
        yield f"in part (correlation {size}): {listed}"


def _basis(columns: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the columns without their mean."""
    centred = columns - columns.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, sizes > 1e-9 * max(1.0, float(np.abs(columns).max(initial=0.0)))]
