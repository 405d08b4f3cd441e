"""Contract of a design: `issues`, `candidates` and `count` of a sweep (`search_space/settings/candidates.py`)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from archsweep.testing.member import as_member, expect, raised, titled, validated
from search_space.designs.of_plugins import PluginRule
from search_space.loading.load import load_sweep_text
from search_space.schema.design import DESIGN_SPECS
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
_NAME = "checked"


def check_design(
    rule: DesignRule | type[Any], *, options: Mapping[str, Any] | None = None, sweep: str = _SWEEP
) -> None:
    """Check a design: its rows can be built and count as it says, lazily, the same each time.

    Args:
        rule: the class of a plug-in, or a rule of archsweep.
        options: arguments of its constructor, as the section `design` has them.
        sweep: YAML of a sweep that the design can be made of; its own `design` does not matter.

    Raises:
        AssertionError: a condition does not hold; the message says which.
    """
    if not isinstance(rule, type):
        assert not options, "a rule has its options already"
        _check(rule, type(rule).__name__, sweep)
        return
    name = titled(rule, options)
    with as_member("design", rule, _NAME):
        with raised(name, "its options"):
            spec = DESIGN_SPECS[_NAME]
        _check(PluginRule(validated(spec, {"name": _NAME, **(options or {})}, name)), name, sweep)


def _check(rule: DesignRule, name: str, sweep: str) -> None:
    checked = load_sweep_text(sweep).sweep
    before = checked.model_dump()
    with raised(name, "its issues"):
        issues = list(rule.issues(checked))
    wrong = [each for each in issues if not isinstance(each, Issue)]
    expect(not wrong, name, f"issues gives {wrong[:1]}, not Issue")
    found = "; ".join(each.message for each in issues)
    expect(not issues, name, f"the sweep has issues in this design: {found}; give sweep= that has none")
    with raised(name, "its rows"):
        count = rule.count(checked)
        expect(isinstance(count, int) and count > 0, name, f"count gives {count!r}, not a positive whole number")
        rows = list(itertools.islice(rule.candidates(checked), _MOST))
        again = list(itertools.islice(rule.candidates(checked), _MOST))
    expect(bool(rows), name, "there are no candidates; the first is the reference of all differences")
    expect(all(isinstance(row, CandidateRow) for row in rows), name, "candidates gives more than CandidateRow")
    if len(rows) < _MOST:
        expect(len(rows) == count, name, f"count says {count}, but there are {len(rows)} candidates")
    expect(again == rows, name, "the candidates are others each time: take a seed from the sweep")
    identities = set[str]()
    for row in rows:
        with raised(name, f"building the row {row}"):
            identities.add(variant_id(build_setting(checked, row)))
    expect(len(identities) > 1, name, "all rows are the same setting")
    expect(checked.model_dump() == before, name, "the sweep is changed")
