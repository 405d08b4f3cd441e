"""What tests over many models share."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def kin_slow(names: Iterable[str], kin: Collection[str]) -> list[Any]:
    """Values of a parameter, of which those of `kin` are slow: others have the same code paths."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in kin else name for name in names]
