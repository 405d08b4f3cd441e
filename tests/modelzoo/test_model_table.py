"""Table of models: `docs/models.md` is up to date and contains every model of the zoo."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelzoo.model_table import FAMILIES, NOTES, PUBLISHED, models_page
from modelzoo.official.checkpoints import zoo_models

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


@pytest.mark.slow  # every model is built
def test_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == models_page(), "run: python -m modelzoo.model_table > docs/models.md"


def test_every_model_has_a_row():
    rows = [line.split("`")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert sorted(rows) == zoo_models()
    assert set(PUBLISHED) <= set(rows)
    assert {published.note for published in PUBLISHED.values()} - {None} == set(NOTES)
    assert len(FAMILIES) == 6


@pytest.mark.parametrize(
    ("name", "row"),
    [
        # Counted on the released model; published by its authors; (24.427 - 24.5) / 24.5.
        ("deepvit_16b_patch16_224", "24,426,664 | 24.5M | -0.3 % | 5.27 | - | - |"),
        ("groupmixformer_large_224", "71,833,648 | 70.3M | +2.2 % | 38.07 | 36.1 | +5.5 % | 6"),
        ("refined_vit_large_patch16_448", "81,451,248 | 81M | none | 102.36 | - | - | 4"),
    ],
)
def test_row_contains_the_known_costs(name, row):
    assert f"| `{name}` | {row}" in PAGE.read_text(encoding="utf-8")
