"""Contract of a design: `issues`, `candidates` and `count` of a sweep (`search_space/settings/candidates.py`)."""

from __future__ import annotations

import itertools

from search_space.loading.load import load_sweep_text
from search_space.schema.identity import variant_id
from search_space.settings.building import build_setting
from search_space.settings.candidates import CandidateRow, DesignRule, Issue

__all__ = ["check_design"]

_SWEEP = """
name: contract
baseline:
  arch: {depth: 4, embed_dim: 40, num_heads: 4}
  train: {epochs: 2}
space:
  arch.depth: [2, 4, 6]
  arch.mlp_ratio: [3, 4]
design: factorial
metric: top1
seeds: 2
"""
_MOST = 10_000


def check_design(rule: DesignRule, *, sweep: str = _SWEEP) -> None:
    """Check a design: its rows can be built and count as it says, lazily, the same each time.

    Args:
        sweep: YAML of a sweep that the design can be made of; its own `design` does not matter.

    Raises:
        AssertionError: a condition does not hold; the message says which.
    """
    name = type(rule).__name__
    checked = load_sweep_text(sweep).sweep
    before = checked.model_dump()
    issues = list(rule.issues(checked))
    wrong = [each for each in issues if not isinstance(each, Issue)]
    _expect(not wrong, name, f"issues gives {wrong[:1]}, not Issue")
    found = "; ".join(each.message for each in issues)
    _expect(not issues, name, f"the sweep has issues in this design: {found}; give sweep= that has none")
    count = rule.count(checked)
    _expect(isinstance(count, int) and count > 0, name, f"count gives {count!r}, not a positive whole number")
    rows = list(itertools.islice(rule.candidates(checked), _MOST))
    _expect(bool(rows), name, "there are no candidates; the first is the reference of all differences")
    _expect(all(isinstance(row, CandidateRow) for row in rows), name, "candidates gives more than CandidateRow")
    if len(rows) < _MOST:
        _expect(len(rows) == count, name, f"count says {count}, but there are {len(rows)} candidates")
    again = list(itertools.islice(rule.candidates(checked), _MOST))
    _expect(again == rows, name, "the candidates are others each time: take a seed from the sweep")
    identities = set[str]()
    for row in rows:
        try:
            identities.add(variant_id(build_setting(checked, row)))
        except Exception as err:
            raise AssertionError(f"{name}: a row cannot be built: {row}: {type(err).__name__}: {err}") from err
    _expect(len(identities) > 1, name, "all rows are the same setting")
    _expect(checked.model_dump() == before, name, "the sweep is changed")


def _expect(holds: bool, name: str, sentence: str) -> None:
    if not holds:
        raise AssertionError(f"{name}: {sentence}")
