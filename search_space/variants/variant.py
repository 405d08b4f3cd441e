"""Variants of a sweep, each a row of the ablation table, enumerated lazily.

A design yields candidate rows (values at paths). This module applies them to the baseline, drops duplicates and names
every variant after its differences to the reference variant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from search_space.designs import rule_of
from search_space.schema.identity import variant_id
from search_space.schema.sweep import Sweep
from search_space.schema.trial import Setting
from search_space.settings.building import build_setting
from search_space.settings.candidates import CandidateRow, PathValue
from search_space.settings.naming import Names, difference

__all__ = ["MAX_VARIANTS", "Variant", "count_upper", "make_variant", "variants"]

MAX_VARIANTS = 100_000  # a larger ledger or table has no use; a search samples such spaces


@dataclass(frozen=True)
class Variant:
    """Variant: a named setting and its differences to the reference variant.

    `changes` maps paths to the values that differ from the reference; `components` maps each component to whether it is
    on (component designs only).
    """

    name: str
    changes: dict[str, Any]
    setting: Setting
    components: dict[str, bool] = field(default_factory=dict[str, bool])
    is_baseline: bool = False

    @property
    def variant_id(self) -> str:
        return variant_id(self.setting)


def variants(sweep: Sweep) -> Iterator[Variant]:
    """Variants of a sweep in table order, the reference variant first; lazily, without duplicates.

    Raises:
        SpecError: values that are legal one by one are incompatible.
    """
    assert sweep.design.name != "search", "a search is not enumerated; see `suggest`"
    candidates = rule_of(sweep.design).candidates(sweep)
    names = Names(sweep)
    first = next(candidates)
    reference = build_setting(sweep, first)
    seen = {variant_id(reference)}
    taken = {first.name or "baseline"}
    yield Variant(first.name or "baseline", {}, reference, first.components, is_baseline=True)
    for candidate in candidates:
        setting = build_setting(sweep, candidate)
        if (identity := variant_id(setting)) in seen:
            continue
        seen.add(identity)
        variant = make_variant(names, candidate, setting, reference)
        if variant.name in taken:
            variant = Variant(f"{variant.name} #{identity[:6]}", variant.changes, setting, variant.components)
        taken.add(variant.name)
        yield variant


def count_upper(sweep: Sweep) -> int:
    """Upper bound of the number of variants, duplicates and those that do not meet a requirement included.

    For a search: the number of trials.
    """
    return rule_of(sweep.design).count(sweep)


def make_variant(names: Names, candidate: CandidateRow, setting: Setting, reference: Setting) -> Variant:
    """Variant of a candidate row, named after its differences to the reference."""
    changes: dict[str, Any] = {}
    stated = {item.path for item in candidate.values if item.is_stated}
    parts: list[str] = []
    for key in dict.fromkeys(item.key for item in candidate.values):
        values = [item for item in candidate.values if item.key == key]
        differing: dict[str, Any] = {}
        for item in values:
            differing |= difference(reference, setting, item.path, stated)
        parts += _describe(names, values, differing)
        changes |= differing
    if not changes:
        changes = difference(reference, setting, "arch", stated) | difference(reference, setting, "task", stated)
        changes |= difference(reference, setting, "train", stated)
        parts = [names.text(path, value) for path, value in changes.items()]
    return Variant(candidate.name or ", ".join(dict.fromkeys(parts)), changes, setting, candidate.components)


def _describe(names: Names, values: list[PathValue], differing: dict[str, Any]) -> list[str]:
    """Contribution of a parameter to a variant name: its label if it has one, else its differing values."""
    labelled = [item for item in values if item.label is not None]
    if not differing or not labelled:
        return [names.text(path, value) for path, value in differing.items()]
    parts = [f"{names.short(item.key if item is values[0] else item.path)}={item.label}" for item in labelled]
    for item in values[1:]:
        if item.is_stated and item.label is None:
            parts.append(names.text(item.path, item.value))
    return parts
