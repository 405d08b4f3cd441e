"""The page about feature maps is what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm

from modelzoo.dense.table import DENSE_ROWS, dense_page

PAGE = Path(__file__).parents[3] / "docs" / "dense.md"


@pytest.mark.slow
def test_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == dense_page(), "run: python -m modelzoo.dense.table > docs/dense.md"


def test_the_page_names_models_that_exist():
    patterns = {name.replace("\\", "") for row in DENSE_ROWS for name in row.names.split(", ")}
    patterns = {name for name in patterns if name.replace("*", "").replace("_", "").isalnum()} - {"vit"}
    assert {pattern for pattern in patterns if not timm.list_models(pattern)} == set()
    assert len(patterns) > 15
