"""Blocks of a design: parts of the experiment that are alike within and may differ between them.

In a randomised complete block design every treatment is measured in every block, and treatments are compared within
blocks, so that what a block does to all of them cancels. Here the blocks are folds of a dataset, datasets, or values of
any other path: the baseline and every variant are trained in each of them with every seed.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from search_space.parsing.type_guards import is_dict
from search_space.schema.parameters import Block
from search_space.schema.sweep import Sweep
from search_space.settings.candidates import PathValue
from search_space.settings.naming import Names, format_value

__all__ = ["RESAMPLED", "BlockOfDesign", "are_resampled", "blocks_of", "name_in_block"]

RESAMPLED = ("task.dataset.fold", "task.dataset.split_seed")
"""Paths whose values draw the splits of one dataset again: its folds, and random splits."""


@dataclass(frozen=True)
class BlockOfDesign:
    """A block: its name in tables, and the values that are laid over every setting in it."""

    name: str
    values: tuple[PathValue, ...]


def blocks_of(sweep: Sweep) -> tuple[BlockOfDesign, ...]:
    """The blocks of a sweep in their order; empty without `blocks`."""
    found: list[BlockOfDesign] = []
    for path, blocks in sweep.blocks.items():
        short = Names(sweep).short(path)
        names = [_name(short, block) for block in blocks]
        counts = Counter(names)
        for block, name in zip(blocks, names, strict=True):
            if counts[name] > 1 and block.name is None:
                name = f"{short}={format_value(block.value)}"
            also = tuple(PathValue(other, other, value) for other, value in block.also.items())
            found.append(BlockOfDesign(name, (PathValue(path, path, block.value), *also)))
    return tuple(found)


def are_resampled(sweep: Sweep) -> bool:
    """Whether the blocks are folds or random splits of one dataset, whose training splits overlap."""
    return any(path in sweep.blocks for path in RESAMPLED)


def name_in_block(name: str, block: str) -> str:
    """Name of a variant in a block, as in the ledger: `window [fold=0]`."""
    return f"{name} [{block}]" if block else name


def _name(short: str, block: Block) -> str:
    """Name of a block: its label, the name of a dataset, else `fold=0`."""
    if block.name is not None:
        return block.name
    value = block.value["name"] if is_dict(block.value) and "name" in block.value else block.value
    if isinstance(value, str):
        return value if value.strip() else json.dumps(value)
    return f"{short}={format_value(value)}"
