"""The files of a run directory: every name is written here, once.

    runs/<sweep>/       RunDir
      trials/<id>/      TrialDir, what a trial leaves beside its record
      tracking/         TrackerFiles, what the driver and the process of a tracker keep of one tracker

The modules that read and write the files describe what is in them. docs/architecture.md lists them for people.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["IN_RUN_DIR", "RunDir", "TrackerFiles", "TrialDir", "left_temporaries", "temporary_path"]


@dataclass(frozen=True)
class TrialDir:
    """The folder of one trial; it exists only where there is something to keep."""

    path: Path

    @property
    def log(self) -> Path:
        return self.path / "train.log"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def weights(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def probes(self) -> Path:
        return self.path / "probes.npz"


@dataclass(frozen=True)
class TrackerFiles:
    """What is kept of one tracker: the runs it has in full, what it printed, and the lock of its process."""

    folder: Path
    name: str

    @property
    def delivered(self) -> Path:
        return self.folder / f"{self.name}.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def lock(self) -> Path:
        return self.folder / f"{self.name}.lock"


@dataclass(frozen=True)
class RunDir:
    """The directory of one run. Knows names, not contents, and touches nothing; a path wherever one is asked for."""

    path: Path

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> RunDir:
        """The run directory at `path`, be it a path or a run directory already."""
        return path if isinstance(path, RunDir) else cls(Path(path))

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    # What decides: the truth of the run, and what it was asked to do.

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.jsonl"

    @property
    def torn_ledger(self) -> Path:
        """Half-written last lines that drivers cut off."""
        return self.path / "ledger.torn"

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def suggestions(self) -> Path:
        return self.path / "suggestions.jsonl"

    @property
    def provenance(self) -> Path:
        return self.path / "provenance.jsonl"

    @property
    def sweep(self) -> Path:
        return self.path / "sweep.yaml"

    # What drivers need while they work.

    @property
    def lock(self) -> Path:
        return self.path / "driver.lock"

    @property
    def driver_log(self) -> Path:
        return self.path / "driver.log"

    @property
    def progress(self) -> Path:
        return self.path / "progress.jsonl"

    @property
    def gpu_memory(self) -> Path:
        return self.path / "gpu_memory.json"

    def stop_request(self, session: str) -> Path:
        """There while the driver of this session asks its workers to stop."""
        return self.path / f"{_STOP}{session}"

    def stop_requests(self) -> Iterator[Path]:
        """Those that are there, of any session."""
        return self.path.glob(f"{_STOP}*")

    def visibility_marker(self, token: str) -> Path:
        """There while nodes are asked whether they see this directory."""
        return self.path / f".visible-{token}"

    # Views, derived from the ledger.

    def table(self, format_: str) -> Path:
        """The ablation table: `csv`, `md`, `tex` or `html`."""
        return self.path / f"table.{format_}"

    @property
    def trials_csv(self) -> Path:
        return self.path / "trials.csv"

    @property
    def curves_csv(self) -> Path:
        return self.path / "curves.csv"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    # Folders.

    def trial(self, trial_id: str) -> TrialDir:
        return TrialDir(self.path / _TRIALS / trial_id)

    def trials(self) -> Iterator[TrialDir]:
        """The folders that are there."""
        return map(TrialDir, self.path.glob(f"{_TRIALS}/*"))

    def tracker(self, name: str) -> TrackerFiles:
        return TrackerFiles(self.path / _TRACKING, name)

    @property
    def tracking_token(self) -> Path:
        """A random word in the names of tracker runs, which keeps run directories of one sweep apart."""
        return self.path / _TRACKING / "token"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def wandb(self) -> Path:
        return self.path / "wandb"

    @property
    def mlflow_database(self) -> Path:
        return self.path / _MLFLOW / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.path / _MLFLOW / "artifacts"

    @property
    def optuna_journal(self) -> Path:
        return self.path / "optuna" / "journal.log"


_STOP, _TRIALS, _TRACKING, _MLFLOW = ".stop-", "trials", "tracking", "mlflow"
IN_RUN_DIR = RunDir(Path())
"""For messages: paths as they stand inside a run directory, `IN_RUN_DIR.trials_csv` is `trials.csv`."""


def temporary_path(path: Path) -> Path:
    """What is renamed to `path` once it is whole. The process id keeps two shells that write the same view apart."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def left_temporaries(path: Path) -> Iterator[Path]:
    """What killed processes left of `path`."""
    return path.parent.glob(f".{path.name}.*.tmp")
