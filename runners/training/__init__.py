"""Training of one trial: loop, state, checkpoints, precision, distributed processes.

The loop is in `loop.py`; this package exports the check of training options, which runs before any training.
"""

from __future__ import annotations

from runners.training.train_checks import check_train_options, training_relations

__all__ = ["check_train_options", "training_relations"]
