"""Removal of checkpoints that are of no further use, and of empty logs and folders of trials.

The checkpoint of a trial that ended is removed. It is kept where the training itself was not at fault (a lost worker, a
time limit, out of memory, an error in the code): `--retry failed` continues there. A diverged training would only
diverge again. An empty log is removed, and the folder of its trial if nothing else is in it, so that ten thousand
trials without output leave no file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from results import RecordSummary, TrialRecord, latest_by_trial

__all__ = ["CheckpointRemover", "remove_checkpoints"]

_NAME = "checkpoint.pt"
_LOG = "train.log"


class CheckpointRemover:
    """Observer that removes the checkpoint of a trial once its record is on the disk."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir

    def on_trial_start(self, assignment: object) -> None: ...
    def on_trial_placed(self, assignment: object, place: object) -> None: ...
    def on_epoch_end(self, assignment: object, metrics: Mapping[str, float]) -> None: ...

    def on_trial_end(self, assignment: object, record: TrialRecord) -> None:
        if not _is_of_use(record):
            _path(self._run_dir, record.trial_id).unlink(missing_ok=True)
        if record.status == "completed":
            _remove_empty(self._run_dir / "trials" / record.trial_id)


def remove_checkpoints(run_dir: Path, records: Iterable[RecordSummary]) -> None:
    """Remove the checkpoints of a driver that was killed after a record and before the removal of its checkpoint."""
    left = {path.parent.name: path for path in run_dir.glob(f"trials/*/{_NAME}")}
    if left:
        for trial_id, record in latest_by_trial(records).items():
            if trial_id in left and not _is_of_use(record):
                left[trial_id].unlink(missing_ok=True)


def _remove_empty(directory: Path) -> None:
    log = directory / _LOG
    # Not worth a failed run: another process may hold the folder open, or have put a file there.
    with contextlib.suppress(OSError):
        if log.stat().st_size == 0:
            log.unlink()
        directory.rmdir()


def _is_of_use(record: TrialRecord | RecordSummary) -> bool:
    if record.status == "failed":
        return record.failure is not None and record.failure.type != "NonFiniteLoss"
    return record.status == "preempted"


def _path(run_dir: Path, trial_id: str) -> Path:
    return run_dir / "trials" / trial_id / _NAME
