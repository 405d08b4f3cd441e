"""Published numbers of the shipped sweeps, cell by cell.

The table below was written from the papers (primary text, and for most cells a second independent copy), not from the
sweep files: which row of a sweep a cell belongs to, its metric, its value, and the place that its source must name.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from results.plan.comparison import PublishedRow
from results.table.published import belongs_to
from search_space import load_sweep, variants

SWEEPS = Path(__file__).parents[1] / "sweeps"
CELLS = """
deepvit/alternatives   | baseline                             | top1                | 79.3  | table 5
deepvit/alternatives   | linearly decayed temperature         | top1                | 79.0  | table 5
deepvit/alternatives   | learnable temperature                | top1                | 79.5  | table 5
deepvit/alternatives   | dropped attention                    | top1                | 79.5  | table 5
deepvit/alternatives   | re-attention                         | top1                | 80.9  | table 5
deepvit/alternatives   | baseline                             | similar_block_count | 16    | table 5
deepvit/alternatives   | linearly decayed temperature         | similar_block_count | 13    | table 5
deepvit/alternatives   | learnable temperature                | similar_block_count | 10    | table 5
deepvit/alternatives   | dropped attention                    | similar_block_count | 8     | table 5
deepvit/alternatives   | re-attention                         | similar_block_count | 0     | table 5
deepvit/depth          | depth=16                             | top1                | 78.9  | table 4
deepvit/depth          | depth=24                             | top1                | 79.4  | table 4
deepvit/depth          | depth=32                             | top1                | 79.3  | table 4
deepvit/depth          | depth=16, attention=reattention      | top1                | 79.1  | table 4
deepvit/depth          | depth=24, attention=reattention      | top1                | 80.1  | table 4
deepvit/depth          | depth=32, attention=reattention      | top1                | 80.9  | table 4
deepvit/depth          | depth=16                             | similar_block_count | 5     | table 4
deepvit/depth          | depth=24                             | similar_block_count | 11    | table 4
deepvit/depth          | depth=32                             | similar_block_count | 16    | table 4
deepvit/depth          | depth=32, attention=reattention      | similar_block_count | 0     | table 4
deepvit/depth          | depth=16                             | params_m            | 24.46 | table 2
deepvit/depth          | depth=24                             | params_m            | 36.26 | table 2
deepvit/depth          | depth=32                             | params_m            | 48.09 | table 2
deepvit/reuse          | baseline                             | top1                | 79.3  | table 3
deepvit/reuse          | 24 blocks, 11 reuse a map            | top1                | 78.7  | table 3
deepvit/reuse          | 32 blocks                            | top1                | 79.2  | table 3
deepvit/reuse          | 32 blocks, 15 reuse a map            | top1                | 79.2  | table 3
deepvit/small_parts    | full                                 | top1                | 82.3  | table 6
deepvit/small_parts    | full                                 | gmacs               | 6.2   | table 6
deepvit/width          | embed_dim=256, num_heads=8           | top1                | 74.6  | table 1
deepvit/width          | baseline                             | top1                | 77.86 | table 1
deepvit/width          | embed_dim=512, num_heads=8           | top1                | 78.8  | table 1
deepvit/width          | embed_dim=768, mlp_ratio=4           | top1                | 79.3  | table 1
deepvit/width          | baseline                             | params_m            | 18.51 | table 1
deepvit/width          | embed_dim=512, num_heads=8           | params_m            | 33.04 | table 1
refiner/expansion      | baseline                             | top1                | 82.3  | table 1
refiner/expansion      | expansion=2                          | top1                | 82.8  | table 1
refiner/expansion      | expansion=3                          | top1                | 82.8  | table 1
refiner/expansion      | expansion=4                          | top1                | 82.9  | table 1
refiner/expansion      | expansion=6                          | top1                | 83.0  | table 1
refiner/dla_alone      | 12 wide blocks                       | top1                | 79.5  | table 2
refiner/dla_alone      | 12 wide blocks with DLA              | top1                | 81.2  | table 2
refiner/dla_alone      | baseline                             | top1                | 78.9  | table 2
refiner/dla_alone      | 16 blocks with DLA                   | top1                | 80.3  | table 2
refiner/dla_alone      | 24 blocks                            | top1                | 79.3  | table 2
refiner/dla_alone      | 24 blocks with DLA                   | top1                | 80.9  | table 2
refiner/dla_alone      | 32 blocks                            | top1                | 79.2  | table 2
refiner/dla_alone      | 32 blocks with DLA                   | top1                | 81.1  | table 2
refiner/parts          | - reduction                          | top1                | 82.99 | table 3
refiner/parts          | full                                 | top1                | 82.95 | table 3
refiner/kernel_form    | baseline                             | top1                | 83.0  | table 4
refiner/kernel_form    | kernel_form=spatial                  | top1                | 82.7  | table 4
refiner/kernel_form    | kernel_form=row_column               | top1                | 81.7  | table 4
refiner/crop           | baseline                             | top1                | 85.94 | table 5
refiner/crop           | RFC                                  | top1                | 85.98 | table 5
refiner/crop           | EfficientNet-L2 at 800               | top1                | 88.35 | table 5
refiner/crop           | EfficientNet-L2 at 800 with RFC      | top1                | 88.46 | table 5
refiner/crop           | EfficientNet-L2 at 475               | top1                | 88.23 | table 5
refiner/crop           | EfficientNet-L2 at 475 with RFC      | top1                | 88.33 | table 5
refiner/crop           | Swin-L                               | top1                | 87.15 | table 5
refiner/crop           | Swin-L with RFC                      | top1                | 87.18 | table 5
refiner/crop           | CaiT-M48                             | top1                | 86.48 | table 5
refiner/crop           | CaiT-M48 with RFC                    | top1                | 86.56 | table 5
refiner/bert           | baseline                             | accuracy            | 75.8  | table 6
refiner/bert           | attention=refiner                    | accuracy            | 78.1  | table 6
refiner/scale          | baseline                             | top1                | 83.6  | table 7
refiner/scale          | M                                    | top1                | 84.6  | table 7
refiner/scale          | L                                    | top1                | 84.9  | table 7
refiner/scale          | baseline                             | gmacs               | 7.2   | table 7
refiner/scale          | M                                    | gmacs               | 13.5  | table 7
refiner/scale          | L                                    | gmacs               | 19.1  | table 7
refiner/heads          | num_heads=8                          | top1                | 82.5  | table 12
refiner/heads          | baseline                             | top1                | 82.6  | table 12
refiner/heads          | num_heads=16                         | top1                | 82.8  | table 12
refiner/shared_maps    | baseline                             | top1                | 83.0  | table 13
refiner/shared_maps    | refined in 1 more block              | top1                | 83.0  | table 13
refiner/shared_maps    | refined in 2 more blocks             | top1                | 82.8  | table 13
refiner/shared_maps    | refined in 3 more blocks             | top1                | 82.6  | table 13
refiner/shared_maps    | plain                                | top1                | 82    | table 13
refiner/shared_maps    | plain and in 1 more block            | top1                | 77    | table 13
refiner/shared_maps    | plain and in 2 more blocks           | top1                | 70    | table 13
focal/window           | baseline                             | top1                | 81.2  | table 8
focal/window paper_detection | baseline                             | box_ap              | 43.7  | table 8
focal/window paper_detection | baseline                             | mask_ap             | 39.8  | table 8
focal/window           | baseline                             | gmacs               | 4.5   | table 8
focal/window           | swin, window 14                      | top1                | 82.1  | table 8
focal/window paper_detection | swin, window 14                      | box_ap              | 44.0  | table 8
focal/window paper_detection | swin, window 14                      | mask_ap             | 40.5  | table 8
focal/window           | swin, window 14                      | gmacs               | 4.9   | table 8
focal/window           | focal, window 7                      | top1                | 82.2  | table 8
focal/window paper_detection | focal, window 7                      | box_ap              | 44.9  | table 8
focal/window paper_detection | focal, window 7                      | mask_ap             | 41.1  | table 8
focal/window           | focal, window 7                      | gmacs               | 4.9   | table 8
focal/window           | focal, window 14                     | top1                | 82.3  | table 8
focal/window paper_detection | focal, window 14                     | box_ap              | 45.5  | table 8
focal/window paper_detection | focal, window 14                     | mask_ap             | 41.5  | table 8
focal/window           | focal, window 14                     | gmacs               | 5.2   | table 8
focal/shift            | swin, no shift                       | top1                | 80.2  | table 9
focal/shift paper_detection | swin, no shift                       | box_ap              | 38.8  | table 9
focal/shift paper_detection | swin, no shift                       | mask_ap             | 36.4  | table 9
focal/shift            | baseline                             | top1                | 81.2  | table 9
focal/shift paper_detection | baseline                             | box_ap              | 43.7  | table 9
focal/shift paper_detection | baseline                             | mask_ap             | 39.8  | table 9
focal/shift            | focal, no shift                      | top1                | 82.2  | table 9
focal/shift paper_detection | focal, no shift                      | box_ap              | 44.8  | table 9
focal/shift paper_detection | focal, no shift                      | mask_ap             | 41.0  | table 9
focal/shift            | focal, shift                         | top1                | 81.9  | table 9
focal/shift paper_detection | focal, shift                         | box_ap              | 44.9  | table 9
focal/shift paper_detection | focal, shift                         | mask_ap             | 41.1  | table 9
focal/depth            | swin 2-2-2-2                         | top1                | 78.7  | table 10
focal/depth paper_detection | swin 2-2-2-2                         | box_ap              | 38.2  | table 10
focal/depth paper_detection | swin 2-2-2-2                         | mask_ap             | 35.7  | table 10
focal/depth            | swin 2-2-2-2                         | params_m            | 21.2  | table 10
focal/depth            | swin 2-2-2-2                         | gmacs               | 3.1   | table 10
focal/depth            | focal 2-2-2-2                        | top1                | 79.9  | table 10
focal/depth paper_detection | focal 2-2-2-2                        | box_ap              | 40.5  | table 10
focal/depth paper_detection | focal 2-2-2-2                        | mask_ap             | 37.6  | table 10
focal/depth            | focal 2-2-2-2                        | params_m            | 21.7  | table 10
focal/depth            | focal 2-2-2-2                        | gmacs               | 3.4   | table 10
focal/depth            | swin 2-2-4-2                         | top1                | 80.2  | table 10
focal/depth paper_detection | swin 2-2-4-2                         | box_ap              | 41.2  | table 10
focal/depth paper_detection | swin 2-2-4-2                         | mask_ap             | 38.1  | table 10
focal/depth            | swin 2-2-4-2                         | params_m            | 24.7  | table 10
focal/depth            | swin 2-2-4-2                         | gmacs               | 3.8   | table 10
focal/depth            | focal 2-2-4-2                        | top1                | 81.4  | table 10
focal/depth paper_detection | focal 2-2-4-2                        | box_ap              | 43.3  | table 10
focal/depth paper_detection | focal 2-2-4-2                        | mask_ap             | 39.8  | table 10
focal/depth            | focal 2-2-4-2                        | params_m            | 25.4  | table 10
focal/depth            | focal 2-2-4-2                        | gmacs               | 4.1   | table 10
focal/depth            | baseline                             | top1                | 81.2  | table 10
focal/depth paper_detection | baseline                             | box_ap              | 43.7  | table 10
focal/depth paper_detection | baseline                             | mask_ap             | 39.8  | table 10
focal/depth            | baseline                             | params_m            | 28.3  | table 10
focal/depth            | baseline                             | gmacs               | 4.5   | table 10
focal/depth            | focal 2-2-6-2                        | top1                | 82.2  | table 10
focal/depth paper_detection | focal 2-2-6-2                        | box_ap              | 44.8  | table 10
focal/depth paper_detection | focal 2-2-6-2                        | mask_ap             | 41.0  | table 10
focal/depth            | focal 2-2-6-2                        | params_m            | 29.1  | table 10
focal/depth            | focal 2-2-6-2                        | gmacs               | 4.9   | table 10
focal/interactions     | short range=off, long range=off      | top1                | 80.1  | figure 5
focal/interactions     | long range=off                       | top1                | 81.4  | figure 5
focal/interactions     | short range=off                      | top1                | 81.6  | figure 5
focal/interactions     | baseline                             | top1                | 82.2  | figure 5
focal/detection        | short range=off, long range=off      | box_ap              | 38.8  | figure 5
focal/detection        | long range=off                       | box_ap              | 43.9  | figure 5
focal/detection        | short range=off                      | box_ap              | 42.2  | figure 5
focal/detection        | baseline                             | box_ap              | 44.8  | figure 5
focal/detection        | baseline                             | mask_ap             | 41.0  | table 3
focal/window           | plain windows of 7                   | top1                | 80.1  | figure 5
focal/window paper_detection | plain windows of 7                   | box_ap              | 38.8  | figure 5
focal/shift            | plain windows, no shift              | top1                | 80.1  | figure 5
focal/shift paper_detection | plain windows, no shift              | box_ap              | 38.8  | figure 5
focal/depth            | plain windows 2-2-6-2                | top1                | 80.1  | figure 5
focal/depth paper_detection | plain windows 2-2-6-2                | box_ap              | 38.8  | figure 5
groupmix/in_pvt        | baseline                             | top1                | 78.7  | PVT v2
"""
OF_THE_PAPER = [tuple(cell.strip() for cell in line.split("|")) for line in CELLS.strip().splitlines()]
# Rows that the papers print without a number, or of which their places disagree with none to prefer.
WITHOUT_A_NUMBER = [
    ("refiner/shared_maps", "plain and in 3 more blocks", "top1"),  # NaN in the paper
    ("deepvit/alternatives", "cosine regulariser", "top1"),  # has no row in the table
    ("focal/shift", "plain windows, shift", "top1"),  # not Swin, whose merging is another
    ("focal/window", "plain windows of 14", "top1"),
    ("focal/depth", "plain windows 2-2-4-2", "top1"),
    ("focal/depth", "plain windows 2-2-2-2", "top1"),
]


@functools.cache
def published_of(sweep: str, profile: str) -> dict[tuple[str, str], list[tuple[float, str]]]:
    """Row and metric -> its published values and their sources."""
    found: dict[tuple[str, str], list[tuple[float, str]]] = {}
    loaded = load_sweep(SWEEPS / f"{sweep}.yaml", profile=profile).sweep
    rows = list(variants(loaded))
    baseline = rows[0].setting.model_dump(mode="json")
    for one in loaded.published:
        theirs = PublishedRow(when=one.when, values=one.values, source=one.source)
        (owner,) = [row.name for row in rows if belongs_to(theirs, row.changes, baseline)]
        for metric, value in one.values.items():
            found.setdefault((owner, metric), []).append((value, one.source))
    return found


def test_there_are_enough_cells_and_none_twice():
    assert len(OF_THE_PAPER) >= 60
    assert len({cell[:3] for cell in OF_THE_PAPER}) == len(OF_THE_PAPER)


@pytest.mark.parametrize("cell", OF_THE_PAPER, ids=lambda cell: " ".join(cell[:3]))
def test_a_cell_of_a_paper_is_beside_its_row(cell):
    sweep, row, metric, value, place = cell
    name, _, profile = sweep.partition(" ")
    found = published_of(name, profile or "paper")[row, metric]
    assert any(number == float(value) and re.search(rf"\b{place}\b", source) for number, source in found), found


@pytest.mark.parametrize("cell", WITHOUT_A_NUMBER, ids=lambda cell: " ".join(cell))
def test_a_row_without_a_published_number_has_none(cell):
    sweep, row, metric = cell
    assert (row, metric) not in published_of(sweep, "paper")
    names = [each.name for each in variants(load_sweep(SWEEPS / f"{sweep}.yaml", profile="paper").sweep)]
    assert row in names
