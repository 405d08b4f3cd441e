"""Aliasing of effects, computed from a design's actual rows: also where variants were dropped or never ran.

Two terms are aliased as far as their columns point the same way: their correlation, for factors of more than two levels
the largest canonical one. 1 and -1 are complete (a half fraction: only the sum or the difference of the two can be
estimated), 0 is none (a full grid); Plackett-Burman designs of 12 runs have 1/3 and -1/3 between a main effect and the
interactions of others. Interactions of three and more factors are taken as absent throughout.

`search_space.designs.aliasing` computes the same before a run, for two levels and in whole numbers (with the
resolution); this one takes any number of levels and the rows that a run completed. Where both apply, a test checks that
they agree: factors of more levels need linear algebra, which the lower room does not import.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from results.effects.design_matrix import Design, Term, design_of, term_columns, term_name
from results.table.table import AblationTable

__all__ = ["COMPLETE", "alias_statements", "aliases"]

COMPLETE = 1 - 1e-9
_NONE = 1e-9
_MOST_LISTED = 12


def aliases(design: Design, variants: list[str] | None = None) -> dict[tuple[Term, Term], float]:
    """Pairs of terms (main effects and two-way interactions) -> their correlation, where it is not 0.

    Args:
        variants: the rows that count; default: all of the design.
    """
    rows = list(design.runs) if variants is None else variants
    bases = {term: _basis(term_columns(design, term, rows)) for term in design.terms}
    found = {}
    for one, other in itertools.combinations(design.terms, 2):
        if bases[one].size and bases[other].size:
            shared = bases[one].T @ bases[other]
            size = float(shared[0, 0] if shared.size == 1 else np.linalg.norm(shared, ord=2))
            if abs(size) > _NONE:
                found[one, other] = max(-1.0, min(1.0, size))
    return found


def alias_statements(table: AblationTable) -> tuple[str, ...]:
    """The aliases of the table's design as text: `a = b : c`; one line for all partial ones of the same size."""
    pairs = aliases(design_of(table))
    return (*_complete(pairs), *_partial(pairs))


def _complete(pairs: Mapping[tuple[Term, Term], float]) -> Iterator[str]:
    """Chains of terms with the same column, up to its sign."""
    chains: dict[Term, list[str]] = {}
    listed_terms: set[Term] = set()
    for (one, other), size in pairs.items():
        # Pairs come in the order of their first term, so all partners of a term follow it before the next term.
        if abs(size) >= COMPLETE and one not in listed_terms:
            chains.setdefault(one, [term_name(one)]).append(("-" if size < 0 else "") + term_name(other))
            listed_terms.add(other)
    listed = [" = ".join(chain) for chain in chains.values()]
    if len(listed) > _MOST_LISTED:
        listed = [*listed[:_MOST_LISTED], f"and {len(listed) - _MOST_LISTED} more chains"]
    if listed:
        yield "; ".join(listed)


def _partial(pairs: Mapping[tuple[Term, Term], float]) -> Iterator[str]:
    sizes: dict[str, list[tuple[Term, Term]]] = {}
    for pair, size in pairs.items():
        if abs(size) < COMPLETE:
            sizes.setdefault(f"{abs(size):.2f}", []).append(pair)
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
    if columns.shape[1] == 1:  # keeps its sign
        length = float(np.linalg.norm(centred))
        return centred / length if length > 1e-9 else centred[:, :0]
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, sizes > 1e-9 * max(1.0, float(np.abs(columns).max(initial=0.0)))]
