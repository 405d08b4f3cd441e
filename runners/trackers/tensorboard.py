"""TensorBoard: event files by tensorboardX, which comes with Ray; `tensorboard --logdir <run>/tensorboard` shows them.

One folder per trial. A trial that starts again adds a file to its folder that declares all earlier steps void, which is
TensorBoard's own way (`purge_step`): its whole curve is written again, so nothing is missing and nothing is doubled.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from runners.trackers.contract import RunEnd, TrackedRun, TrackedSweep
from search_space.schema.tracking import TensorBoardSpec

__all__ = ["TensorBoardTracker"]


class TensorBoardTracker:
    """Writes below `<run>/tensorboard`, or below `<dir>/<sweep>` where the sweep names a folder."""

    notes: Sequence[str] = ()

    def __init__(self, options: TensorBoardSpec, sweep: TrackedSweep) -> None:
        self._root = Path(options.dir, sweep.name) if options.dir else sweep.run_dir.tensorboard
        self._root.mkdir(parents=True, exist_ok=True)
        self._writers: dict[str, SummaryWriter] = {}

    def start(self, run: TrackedRun) -> int:
        self._writers[run.id] = self._writer(self._root / _folder(run))
        return 0

    def epoch(self, run: TrackedRun, epoch: int, metrics: Mapping[str, float]) -> None:
        writer = self._writers[run.id]
        for name, value in metrics.items():
            writer.add_scalar(name, value, epoch)
        writer.flush()

    def end(self, run: TrackedRun, ending: RunEnd) -> None:
        writer = self._writers.pop(run.id)
        final = {f"final/{name.replace('@', '/')}": value for name, value in ending.numbers.items()}
        config = {key: _plain(value) for key, value in {**run.config, **ending.words}.items()}
        assert writer.file_writer is not None
        for summary in hparams(config, final):  # experiment, start and end of the session, for the tab HPARAMS
            writer.file_writer.add_summary(summary)
        for name, value in final.items():
            writer.add_scalar(name, value, ending.epochs)
        writer.add_text("status", ": ".join(filter(None, (ending.status, ending.words.get("failure")))), ending.epochs)
        writer.close()

    def interrupt(self, run: TrackedRun) -> None:
        self._writers.pop(run.id).close()

    def table(self, files: Sequence[Path]) -> None:
        for file in files:
            if file.suffix == ".md":
                with self._writer(self._root / "table") as writer:
                    writer.add_text("table", file.read_text(encoding="utf-8"), 0)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def _writer(self, folder: Path) -> SummaryWriter:
        is_again = any(folder.glob("events.*"))
        # The library names files by the second.
        suffix = f".{time.time_ns()}"
        return SummaryWriter(logdir=str(folder), filename_suffix=suffix, purge_step=0 if is_again else None)


def _folder(run: TrackedRun) -> str:
    """The folder, which is the name that TensorBoard shows; its suffix makes it unique."""
    plain = re.sub(r"[^A-Za-z0-9._=,+-]+", "_", run.name)[:120]
    return f"{plain}_{run.id.split('-', 1)[1][:8]}"


def _plain(value: object) -> bool | str | float:
    return value if isinstance(value, bool | str | int | float) else str(value)
