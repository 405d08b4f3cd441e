"""A published row belongs to the variant whose setting it describes, however both are written."""

from __future__ import annotations

import pytest

from results.plan.comparison import PublishedRow
from results.table.published import belongs_to
from search_space import load_sweep_text, variants

SWEEP = """
name: layouts
baseline:
  arch: {model: refined_vit_small_patch16_224, options: {layout: [plain, sharing], kernel_size: 3, expansion: 3}}
design:
  name: list
  rows:
    - {name: two, arch.options.layout: [plain, sharing, sharing]}
    - {name: alone, arch.options: {layout: every}}
    - {name: less, arch.options: {layout: [plain, sharing], expansion: 3}}
    - {name: swin, arch: {model: swin_tiny_patch4_window7_224}}
seeds: 1
metric: top1
"""


@pytest.mark.parametrize(
    ("when", "row"),
    [
        ({}, "baseline"),
        ({"arch.options.expansion": 3.0}, "baseline"),
        ({"arch.options": {"layout": ["plain", "sharing"], "kernel_size": 3, "expansion": 3}}, "baseline"),
        ({"arch.options.layout": ["plain", "sharing", "sharing"]}, "two"),
        ({"arch.options": {"layout": ["plain", "sharing", "sharing"], "kernel_size": 3, "expansion": 3}}, "two"),
        ({"arch.options": {"layout": "every"}}, "alone"),
        ({"arch.options": {"layout": ["plain", "sharing"], "expansion": 3}}, "less"),
        ({"arch": {"model": "swin_tiny_patch4_window7_224"}}, "swin"),
        ({"arch.options.layout": "every"}, None),
        ({"arch.options.expansion": 2}, None),
    ],
)
def test_rows_with_lists_and_without_options_of_the_baseline(when, row):
    rows = list(variants(load_sweep_text(SWEEP).sweep))
    baseline = rows[0].setting.model_dump(mode="json")
    theirs = PublishedRow(when=when, values={"top1": 80.0}, source="a table")
    assert [each.name for each in rows if belongs_to(theirs, each.changes, baseline)] == ([row] if row else [])
