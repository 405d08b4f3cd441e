"""What is said below a table about the blocks of its design: means over them, differences within them, and the test."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Sequence

from results.plan.datasets import DataSummary
from results.plan.run_plan import BlockedDesign
from results.stats.blocks import MIN_BLOCKS_WILCOXON
from results.stats.hypothesis_tests import MIN_SEEDS_TEST
from results.stats.numbers import level_percent
from results.stats.verdicts import TESTED
from results.table.table import AblationTable, Row
from search_space.parsing.errors import first_of
from search_space.settings.table_columns import in_block

__all__ = [
    "block_notes",
    "costs_of_blocks",
    "data_of_folds",
    "delta_text",
    "has_differences_of_blocks",
    "interval_text",
    "lengths_of_blocks",
    "mean_text",
    "pair_notes",
    "test_text",
]

_MOST_NAMES = 12


def mean_text(blocks: BlockedDesign, seeds: str) -> str:
    """What the means of the metrics are.

    Args:
        seeds: the planned seeds, as text.
    """
    of_seeds = f"the means over the completed seeds (planned: {seeds}) of each"
    if not blocks.is_resampled:
        return f"mean over the {len(blocks.names)} blocks of {blocks.path} ({_names(blocks.names)}) of {of_seeds}"
    return f"mean \u00b1 standard deviation (n - 1) over {_folds(blocks)} of {of_seeds}"


def lengths_of_blocks(table: AblationTable) -> str:
    """The epochs of a training where blocks differ in them: `40 epochs (10 in shapes)`; else empty."""
    lengths: dict[int, list[str]] = {}
    for block, row in (table.baseline.blocks if table.baseline is not None else {}).items():
        done = [record for record in row.records if record.status == "completed"]
        if done and done[0].spec.get("train", {}).get("steps") is None:
            lengths.setdefault(done[0].epochs, []).append(block)
    if len(lengths) < 2:
        return ""
    (epochs, _), *others = sorted(lengths.items(), key=lambda item: -len(item[1]))
    return f"{epochs} epochs ({'; '.join(f'{number} in {_names(blocks)}' for number, blocks in others)})"


def costs_of_blocks(table: AblationTable, shown: Container[str]) -> Iterable[str]:
    """That the costs of a row are means, where its model is not the same in all blocks."""
    names = [name for name in ("params_m", "trainable_params_m", "gmacs") if name in shown]
    if any(len({getattr(part, name) for part in row.blocks.values()}) > 1 for row in table.rows for name in names):
        yield "means over the blocks, whose models differ in size"


def delta_text(blocks: BlockedDesign, to: str) -> str:
    """What the differences are.

    Args:
        to: the baseline, as text.
    """
    what = _unit(blocks)
    text = f"mean over the {what}s of the same-seed differences to {to}, each taken within its {what}"
    if blocks.is_resampled:
        return text
    return f"{text}; a description without an interval, because the blocks are of different kind"


def interval_text(blocks: BlockedDesign) -> str:
    """What the interval over folds or splits is."""
    return (
        f"interval of the corrected resampled t (Nadeau and Bengio, 2003: {blocks.kind} share training images, so the "
        f"variance of the mean is 1/{len(blocks.names)} + {blocks.test_per_train:.3g} times that of the differences of "
        f"the {blocks.kind}, {blocks.test_per_train:.3g} being the test images per training image; n - 1 degrees of "
        f"freedom for n {blocks.kind}"
    )


def test_text(blocks: BlockedDesign) -> str:
    """Name of the test, up to its correction."""
    if blocks.is_resampled:
        return f"two-sided corrected resampled t-test on the differences of the {blocks.kind}, taken as normal, "
    return f"two-sided exact Wilcoxon signed-rank test over the {len(blocks.names)} blocks, "


def data_of_folds(data: Iterable[DataSummary], blocks: BlockedDesign) -> str:
    """The images of the folds in one sentence."""
    found = list(data)
    sizes = [("training", "train_images"), ("validation", "val_images"), ("test", "test_images")]
    *most, last = [
        f"{_range([getattr(each, field) for each in found])} {split}"
        for split, field in sizes
        if split != "validation" or any(each.val_images for each in found)
    ]
    classes = f"of {found[0].num_classes} classes" if found[0].num_classes else "with a number each"
    return f"Data of {_folds(blocks)}, by {_unit(blocks)}: {', '.join(most)} and {last} images {classes}."


def block_notes(table: AblationTable) -> Iterable[str]:
    """What the blocks do not allow to claim."""
    blocks = table.blocks
    if blocks is None:
        return
    num = len(blocks.names)
    of_each = (
        f"Intervals behind @ are of one block each, at the level of {level_percent(table.analysis.alpha)} % and not "
        "corrected."
    )
    if blocks.kind == "settings":
        yield (
            "No verdict over all blocks: they are no datasets of different names, so that their differences need not "
            f"be independent. {of_each}"
        )
    elif blocks.kind == "datasets" and num < MIN_BLOCKS_WILCOXON:
        yield (
            f"No verdict over all blocks: Wilcoxon's signed-rank test of {num} blocks cannot give a p-value below "
            f"{2 / 2**num:.3g}, so it is used from {MIN_BLOCKS_WILCOXON} blocks on. {of_each}"
        )
    elif blocks.kind == "datasets":
        alike = [row.name for row in table.rows if row.verdict in TESTED and row.p is None]
        if alike:
            names = ", ".join(alike)
            yield f"Fewer than {MIN_BLOCKS_WILCOXON} blocks with a difference, so that no test applies: {names}."
    if blocks.num_folds is not None and num < blocks.num_folds:
        yield (
            f"{num} of the {blocks.num_folds} folds are blocks: means are of the images of these folds, and the test "
            f"counts {num}."
        )
    if blocks.is_resampled and num < MIN_SEEDS_TEST:
        yield f"No verdict: {num} {blocks.kind} are not tested, {MIN_SEEDS_TEST} and more are."


def pair_notes(table: AblationTable, *, has_differences_of_each: bool) -> Iterable[str]:
    """What `(2 pairs)` and `(2 blocks)` behind a difference mean, where one has it.

    Args:
        has_differences_of_each: whether a column has the differences within a block.
    """
    of_pairs = (
        "(n pairs): seeds are missing, so that the difference is of those that both rows have and need not be the "
        "difference of the two means."
    )
    if any(map(_lacks_pairs, table.rows)):
        yield (
            "(n blocks): the others have no seed that both rows completed, so that the difference is of these alone."
            if table.blocks is not None
            else of_pairs
        )
    if has_differences_of_each and any(_lacks_pairs(cell) for row in table.rows for cell in row.blocks.values()):
        yield of_pairs


def _lacks_pairs(row: Row) -> bool:
    return row.delta is not None and row.delta.num_pairs < row.num_planned_pairs


def has_differences_of_blocks(table: AblationTable, shown: Collection[str] | None) -> bool:
    """Whether one of these columns is the difference in a block."""
    names = table.blocks.names if table.blocks is not None else ()
    return any(in_block("delta", name) in (shown or ()) for name in names)


def _folds(blocks: BlockedDesign) -> str:
    num = len(blocks.names)
    if blocks.num_folds is None:
        return f"the {num} random splits"
    return f"the {num} folds" if num == blocks.num_folds else f"{num} of {blocks.num_folds} folds"


def _unit(blocks: BlockedDesign) -> str:
    return {"folds": "fold", "splits": "split"}.get(blocks.kind, "block")


def _names(blocks: Sequence[str]) -> str:
    return first_of(blocks, _MOST_NAMES)


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
