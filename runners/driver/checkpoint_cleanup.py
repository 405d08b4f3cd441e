"""Removal of checkpoints that are of no further use, and of empty logs and folders of trials.

The checkpoint of a trial that ended is removed. It is kept where the training itself was not at fault (a lost worker, a
time limit, out of memory, an error in the code): `--retry failed` continues there. A diverged training would only
diverge again. An empty log is removed, and the folder of its trial if nothing else is in it, so that ten thousand
trials without output leave no file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from results import RecordSummary, TrialRecord, latest_by_trial
from results.store.run_layout import RunDir, TrialDir

__all__ = ["CheckpointRemover", "remove_checkpoints"]


class CheckpointRemover:
    """Observer that removes the checkpoint of a trial once its record is on the disk."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir

    def on_trial_start(self, assignment: object) -> None: ...
    def on_trial_placed(self, assignment: object, place: object) -> None: ...
    def on_epoch_end(self, assignment: object, metrics: Mapping[str, float]) -> None: ...

    def on_trial_end(self, assignment: object, record: TrialRecord) -> None:
        trial = self._run_dir.trial(record.trial_id)
        if not _is_of_use(record):
            trial.checkpoint.unlink(missing_ok=True)
        if record.status == "completed":
            _remove_empty(trial)


def remove_checkpoints(run_dir: RunDir, records: Iterable[RecordSummary]) -> None:
    """Remove the checkpoints of a driver that was killed after a record and before the removal of its checkpoint."""
    left = {trial.path.name: trial.checkpoint for trial in run_dir.trials() if trial.checkpoint.exists()}
    if left:
        for trial_id, record in latest_by_trial(records).items():
            if trial_id in left and not _is_of_use(record):
                left[trial_id].unlink(missing_ok=True)


def _remove_empty(trial: TrialDir) -> None:
    # Not worth a failed run: another process may hold the folder open, or have put a file there.
    with contextlib.suppress(OSError):
        if trial.log.stat().st_size == 0:
            trial.log.unlink()
        trial.path.rmdir()


def _is_of_use(record: TrialRecord | RecordSummary) -> bool:
    if record.status == "failed":
        return record.failure is not None and record.failure.type != "NonFiniteLoss"
    return record.status == "preempted"
