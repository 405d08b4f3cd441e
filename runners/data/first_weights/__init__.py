"""First weights of a trial: which file they are, of this machine, of a run, or of timm's releases."""

from runners.data.first_weights.files import (
    WEIGHTS_MARK,
    are_expected,
    check_weights,
    fetch_weights,
    find_weights,
    kept_weights,
    missing_seeds,
    weights_digest,
    weights_note,
)

__all__ = [
    "WEIGHTS_MARK",
    "are_expected",
    "check_weights",
    "fetch_weights",
    "find_weights",
    "kept_weights",
    "missing_seeds",
    "weights_digest",
    "weights_note",
]
