"""Weights & Biases: one run per trial, grouped by sweep, many at a time in this one process.

Without a login, runs are offline ones in the run directory, which `wandb sync` sends later. An offline run cannot
be continued by wandb: a trial that starts again is written from its first epoch, so its new file replaces the old one,
under the same run id.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from wandb.errors import CommError, UsageError

from runners.trackers.contract import RunEnd, TrackedRun, TrackedSweep
from search_space.schema.tracking import WandbSpec

__all__ = ["WandbTracker"]

_OLD_MODES = {"dryrun": "offline", "run": "online"}
_FINISHED = ("completed", "pruned", "infeasible")  # for W&B the others are failed or preempted


class WandbTracker:
    """Writes below `<run>/wandb`; `mode` decides whether it also sends."""

    def __init__(self, options: WandbSpec, sweep: TrackedSweep) -> None:
        self._options = options
        self._sweep = sweep
        self._folder = sweep.run_dir.wandb
        self._folder.mkdir(parents=True, exist_ok=True)
        # All that wandb would put into the home directory. The login stays where it is.
        os.environ["WANDB_CACHE_DIR"] = os.environ["WANDB_DATA_DIR"] = str(self._folder)
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self._mode, reason = _mode(options)
        hint = f": `wandb sync {self._folder}/offline-run-*` sends what it wrote" if self._mode == "offline" else ""
        self.notes: Sequence[str] = (f"wandb is {self._mode} ({reason}){hint}",) if reason else ()
        self._runs: dict[str, Any] = {}

    def start(self, run: TrackedRun) -> int:
        opened = self._init(run.id, run.name, config=dict(run.config), job_type=run.role or "trial")
        self._runs[run.id] = opened
        return opened.starting_step - 1 if self._mode == "online" and opened.resumed else 0

    def epoch(self, run: TrackedRun, epoch: int, metrics: Mapping[str, float]) -> None:
        self._runs[run.id].log(dict(metrics), step=epoch, commit=True)

    def end(self, run: TrackedRun, ending: RunEnd) -> None:
        opened = self._runs.pop(run.id)
        opened.summary.update({**ending.numbers, **ending.words})
        if ending.status == "preempted":
            opened.mark_preempting()
        opened.finish(exit_code=0 if ending.status in _FINISHED else 1)

    def interrupt(self, run: TrackedRun) -> None:
        opened = self._runs.pop(run.id)
        opened.mark_preempting()
        opened.finish(exit_code=1)

    def table(self, files: Sequence[Path]) -> None:
        opened = self._init(f"{self._sweep.token}-table", f"{self._sweep.name} table", config={}, job_type="table")
        artifact = wandb.Artifact(f"{self._sweep.name}-table", type="table")
        for file in files:
            artifact.add_file(str(file))
        opened.log_artifact(artifact)
        opened.finish()

    def close(self) -> None:
        wandb.teardown()

    def _init(self, run_id: str, name: str, *, config: dict[str, Any], job_type: str) -> Any:
        if self._mode == "offline":
            for old in self._folder.glob(f"offline-run-*-{run_id}"):
                shutil.rmtree(old)
        return wandb.init(
            project=self._options.project,
            entity=self._options.entity,
            group=self._options.group or self._sweep.name,
            tags=list(self._options.tags),
            id=run_id,
            name=name,
            config=config,
            job_type=job_type,
            mode=self._mode,
            dir=str(self._sweep.run_dir),
            resume="allow",
            reinit="create_new",
            # What wandb would record of this process is not that of the trial, which runs elsewhere.
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
                x_save_requirements=False,
            ),
        )


def _mode(options: WandbSpec) -> tuple[Any, str]:
    """The mode (online, offline or disabled) and its reason, which is empty if the sweep states the mode."""
    if options.mode is not None:
        return options.mode, ""
    if written := os.environ.get("WANDB_MODE"):
        return _OLD_MODES.get(written, written), "WANDB_MODE"
    try:
        wandb.login()
    except UsageError:
        return "offline", "not logged in"
    except CommError:  # no answer, or a refusal: nothing is lost offline
        return "offline", "logging in failed"
    return "online", "logged in"
