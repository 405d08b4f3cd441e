"""Trial cache across sweeps: a trial that was trained before, by the same code, is not trained again.

A record is served if its identity, its origin (data, code, software) and its kind of device are those of the trial; its
`cached_from` names the run that trained it. One small file per trial, written in one step, so that any number of
drivers may share the folder, also over a network; what cannot be read is no entry.

Not served: trials that leave more than a record behind (kept weights, attention maps or predictions for plots).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from results import TrialRecord
from results.store.files import atomic_write
from results.store.verification import RecordVerifier
from runners.cache.origin import Origins
from runners.machine.gpus import visible_gpus
from runners.machine.user_cache import entries
from runners.planning.plan import Plan
from runners.training.device import kind_of_device
from runners.trials.assignment import Assignment
from search_space import SpecError, Sweep, TrialSpec, trial_id

__all__ = ["CacheWriter", "TrialCache", "device_of", "leaves_only_records"]


@dataclass
class TrialCache:
    """Completed trials below `directory`.

    Attributes:
        origins: the present origin of each trial; records of another one are not served.
        device: `cpu` or the name of the GPU that this run trains on; numbers of another kind are not its own. None
            serves nothing.
    """

    directory: Path
    device: str | None
    origins: Origins

    def get(self, spec: TrialSpec) -> TrialRecord | None:
        """The record of an equal trial, with `cached_from`; None if there is none."""
        if self.device is None:
            return None
        entry = self._read(self._path(spec, self.device))
        if entry is None:
            return None
        record, origin = entry
        is_of_trial = record.trial_id == trial_id(spec) and record.origin == self.origins.of(spec)
        # A record that no ledger could be read with is no entry.
        if not is_of_trial or record.status != "completed" or RecordVerifier().problem(record, 0):
            return None
        return record.model_copy(update={"cached_from": record.cached_from or origin})

    def put(self, spec: TrialSpec, record: TrialRecord, run_dir: Path) -> None:
        """Write a completed record, also over one without predictions if it has them.

        Raises:
            SpecError: it cannot be written.
        """
        path = self._path(spec, record.device)
        if record.origin != self.origins.of(spec):
            return
        if path.exists() and not (record.correct and (known := self._read(path)) and not known[0].correct):
            return
        entry = {"run": f"{run_dir} ({record.finished_at[:10]})", "record": record.model_dump(mode="json")}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise SpecError(f"{path.parent}: cannot write: {err.strerror}") from err
        atomic_write(path, json.dumps(entry) + "\n")

    def _read(self, path: Path) -> tuple[TrialRecord, str] | None:
        """The record of an entry and the run that trained it; None if it cannot be read."""
        try:
            entry = json.loads(path.read_bytes())
            return TrialRecord.model_validate(entry["record"]), str(entry["run"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError):
            return None

    def _path(self, spec: TrialSpec, device: str) -> Path:
        key = trial_id(spec)
        origin = self.origins.of(spec).model_dump_json()
        digest = hashlib.sha256(f"{origin} {device}".encode()).hexdigest()[:16]
        return entries(self.directory) / key[:2] / f"{key}-{digest}.json"


class CacheWriter:
    """Observer that writes completed records to the cache. A directory that cannot be written is a warning."""

    def __init__(self, cache: TrialCache, run_dir: Path) -> None:
        self._cache = cache
        self._run_dir = run_dir
        self.problem = ""

    def on_trial_start(self, assignment: Assignment) -> None: ...
    def on_trial_placed(self, assignment: Assignment, place: object) -> None: ...
    def on_epoch_end(self, assignment: Assignment, metrics: Mapping[str, float]) -> None: ...

    def on_trial_end(self, assignment: Assignment, record: TrialRecord) -> None:
        if record.status != "completed" or record.cached_from or self.problem:
            return
        try:
            self._cache.put(assignment.spec, record, self._run_dir)
        except SpecError as err:
            self.problem = str(err)


def leaves_only_records(sweep: Sweep) -> bool:
    """Whether the trials of this sweep leave nothing but a record."""
    keeps_files = sweep.checkpoints.keep != "none" or sweep.keep_samples > 0
    return not keeps_files and not sweep.baseline.task.probe_arrays


def device_of(plan: Plan) -> str | None:
    """Device of all trials of this run: `cpu`, or the name of this machine's GPUs.

    None if it is not the same for all, or not known here: the GPUs are on other machines or of several kinds, or split
    by MIG, or only a process that uses them could name them (ROCm, MPS, XPU). By `nvidia-smi`, whose names are those
    that CUDA gives in a trial: asking CUDA would take memory of every GPU.
    """
    kinds = {kind_of_device(kind) for kind in plan.kinds_of_resources}
    if kinds == {"cpu"}:
        return "cpu"
    gpus = visible_gpus() if kinds == {"cuda"} else ()
    names = {gpu.name for gpu in gpus}
    return names.pop() if len(names) == 1 and not any(gpu.is_split for gpu in gpus) else None
