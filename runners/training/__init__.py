"""How a trial trains. The loop is in `loop.py`; this package offers what must be known before anything trains."""

from __future__ import annotations

from runners.training.train_checks import check_train_options

__all__ = ["check_train_options"]
