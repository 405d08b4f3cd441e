"""The names of the files of a run directory, each defined once.

    runs/<sweep>/       RunDir
      trials/<id>/      TrialDir, files of a trial beside its record
      tracking/         TrackerFiles, files that the driver and the process of one tracker keep

Their formats are documented in the modules that read and write them. docs/architecture.md lists the files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["IN_RUN_DIR", "RunDir", "TrackerFiles", "TrialDir", "left_temporaries", "temporary_path"]


@dataclass(frozen=True)
class TrialDir:
    """The folder of one trial; it exists only if the trial keeps files."""

    path: Path

    def run_dir(self) -> Path:
        return self.path.parent.parent

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

    def work(self) -> Path:
        """The folder that a training of the user's own may write to."""
        return self.path / "work"

    @property
    def reported(self) -> Path:
        """The epochs that a training of the user's own has reported."""
        return self.path / "reported.json"

    @property
    def samples(self) -> Path:
        return self.path / "samples.npz"


@dataclass(frozen=True)
class TrackerFiles:
    """The files of one tracker: the runs it has in full, its output, and the lock of its process."""

    folder: Path
    name: str

    def run_dir(self) -> Path:
        return self.folder.parent

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
    """The directory of one run: names only, without access to the files; usable as a path (`os.PathLike`)."""

    path: Path

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> RunDir:
        """The run directory at `path`, which may be a `RunDir` already."""
        return path if isinstance(path, RunDir) else cls(Path(path))

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    # Sources: the ledger, the plan and the sweep of the run.

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
    def preregistration(self) -> Path:
        """The plan as it was frozen before the first result."""
        return self.path / "preregistration.json"

    @property
    def suggestions(self) -> Path:
        return self.path / "suggestions.jsonl"

    @property
    def provenance(self) -> Path:
        return self.path / "provenance.jsonl"

    @property
    def sweep(self) -> Path:
        return self.path / "sweep.yaml"

    def fingerprint(self, digest: str) -> Path:
        """What the fingerprint of a dataset is of: its folders with their numbers of files."""
        return self.path / _DATA / f"{digest}.json"

    def plugin(self, name: str, digest: str) -> Path:
        """Folder of the sources of a plug-in, of this content."""
        return self.path / _PLUGINS / f"{name}-{digest}"

    # Working files of drivers.

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
        """The file that exists while the driver of this session asks its workers to stop."""
        return self.path / f"{_STOP}{session}"

    def stop_requests(self) -> Iterator[Path]:
        """The existing stop requests, of any session."""
        return self.path.glob(f"{_STOP}*")

    def group_answers(self, name: str) -> Path:
        """The file of the driver's answers to trials that one worker trains together, under Tune's name for them."""
        return self.path / f".group-{name}"

    def visibility_marker(self, token: str) -> Path:
        """The file that exists while nodes are asked whether they see this directory."""
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
    def shapley_csv(self) -> Path:
        """The values of the components, of a run of the design `shapley`."""
        return self.path / "shapley.csv"

    @property
    def path_csv(self) -> Path:
        """The steps of a run of the design `path`."""
        return self.path / "path.csv"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    # Folders.

    def trial(self, trial_id: str) -> TrialDir:
        return TrialDir(self.path / _TRIALS / trial_id)

    def trials(self) -> Iterator[TrialDir]:
        """The existing folders of trials."""
        return map(TrialDir, self.path.glob(f"{_TRIALS}/*"))

    def tracker(self, name: str) -> TrackerFiles:
        return TrackerFiles(self.path / _TRACKING, name)

    @property
    def tracking_token(self) -> Path:
        """The token that identifies this run directory in the names of tracker runs."""
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


_STOP, _TRIALS, _TRACKING, _MLFLOW, _DATA, _PLUGINS = ".stop-", "trials", "tracking", "mlflow", "data", "plugins"
IN_RUN_DIR = RunDir(Path())
"""For messages: paths relative to a run directory, `IN_RUN_DIR.trials_csv` is `trials.csv`."""


def temporary_path(path: Path) -> Path:
    """The temporary file that is renamed to `path` once it is complete. The process id separates concurrent writers."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def left_temporaries(path: Path) -> Iterator[Path]:
    """Temporary files for `path` that killed processes left."""
    return path.parent.glob(f".{path.name}.*.tmp")
