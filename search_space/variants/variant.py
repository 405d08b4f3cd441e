"""Variants of a sweep, each a row of the ablation table, enumerated lazily.

A design yields candidate rows (values at paths). This module applies them to the baseline, drops duplicates and names
every variant after its differences to the reference variant. In a design with blocks each of them is a variant in each
block: a setting of its own with an identity of its own, compared with the reference in its block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search_space.designs import rule_of
from search_space.schema.identity import variant_id
from search_space.schema.sweep import Sweep
from search_space.schema.trial import Setting
from search_space.settings.building import build_setting
from search_space.settings.candidates import CandidateRow, PathValue
from search_space.settings.naming import Names, difference
from search_space.variants.blocks import BlockOfDesign, blocks_of, name_in_block

__all__ = ["MAX_VARIANTS", "Variant", "count_upper", "make_variant", "variants"]

MAX_VARIANTS = 100_000  # a larger ledger or table has no use; a search samples such spaces


@dataclass(frozen=True)
class Variant:
    """Variant: a named setting and its differences to the reference variant.

    `changes` maps paths to the values that differ from the reference; `components` maps each component to whether it is
    on (component designs only); `placebo_of` is the component of which it has the placebo.

    In a design with blocks `block` is the name of the block, and `treatment` the id that the variant has in the first
    block: variants of one treatment differ in their blocks alone, and are one row of the table.
    """

    name: str
    changes: dict[str, Any]
    setting: Setting
    components: dict[str, bool] = field(default_factory=dict[str, bool])
    is_baseline: bool = False
    block: str = ""
    treatment: str = ""
    placebo_of: str = ""

    @property
    def variant_id(self) -> str:
        return variant_id(self.setting)


def variants(sweep: Sweep) -> Iterator[Variant]:
    """Variants of a sweep in table order, the reference variant first; lazily, without duplicates.

    Raises:
        SpecError: values that are legal one by one are incompatible.
    """
    assert sweep.design.name != "search", "a search is not enumerated; see `suggest`"
    if not sweep.blocks:
        yield from (variant for _, variant in _enumerated(sweep, ()))
        return
    first, *others = blocks_of(sweep)
    treatments: list[tuple[CandidateRow, Variant]] = []
    for candidate, variant in _enumerated(sweep, first.values):
        treatments.append((candidate, variant))
        yield _in_block(variant, variant, first)
    for block in others:
        yield from _of_block(sweep, treatments, block)


def _of_block(
    sweep: Sweep, treatments: Sequence[tuple[CandidateRow, Variant]], block: BlockOfDesign
) -> Iterator[Variant]:
    """The treatments of the first block in another one, under the same names."""
    names = Names(sweep)
    reference: Setting | None = None
    for candidate, of_first in treatments:
        setting = build_setting(sweep, replace(candidate, values=(*block.values, *candidate.values)))
        if reference is None:
            reference = setting
            yield _in_block(replace(of_first, setting=setting), of_first, block)
        else:
            yield _in_block(make_variant(names, candidate, setting, reference), of_first, block)


def _in_block(variant: Variant, of_first: Variant, block: BlockOfDesign) -> Variant:
    name = name_in_block(of_first.name, block.name)
    return replace(variant, name=name, block=block.name, treatment=of_first.variant_id)


def _enumerated(sweep: Sweep, block: tuple[PathValue, ...]) -> Iterator[tuple[CandidateRow, Variant]]:
    """Candidates with the variants that they make, without duplicates; `block`: values laid under those of each."""
    candidates = rule_of(sweep.design).candidates(sweep)
    names = Names(sweep)
    first = next(candidates)

    def build(candidate: CandidateRow) -> Setting:
        return build_setting(sweep, replace(candidate, values=(*block, *candidate.values)) if block else candidate)

    reference = build(first)
    seen = {variant_id(reference)}
    taken = {first.name or "baseline"}
    yield first, Variant(first.name or "baseline", {}, reference, first.components, is_baseline=True)
    for candidate in candidates:
        setting = build(candidate)
        if (identity := variant_id(setting)) in seen:
            continue
        seen.add(identity)
        variant = make_variant(names, candidate, setting, reference)
        if variant.name in taken:
            variant = replace(variant, name=f"{variant.name} #{identity[:6]}")
        taken.add(variant.name)
        yield candidate, variant


def count_upper(sweep: Sweep) -> int:
    """Upper bound of the number of variants, duplicates and those that do not meet a requirement included; those of
    each block count by themselves.

    For a search: the number of trials.
    """
    return rule_of(sweep.design).count(sweep) * max(1, sum(map(len, sweep.blocks.values())))


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
    name = candidate.name or ", ".join(dict.fromkeys(parts))
    return Variant(name, changes, setting, candidate.components, placebo_of=candidate.placebo_of)


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
