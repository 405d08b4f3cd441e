"""TensorBoard: folders with event files, one per run; scalars, and the configuration of the hparams plug-in.

Where a run has no hparams, or besides them, its folders' names are read: `lr=0.1,seed=3`, `lr=0.1/seed=3`,
`lr=0.1_seed=3`. TensorBoard does not record whether a run ended.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

# An extra; only who imports from it needs it.
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.util.tensor_util import make_ndarray

from runners.imports.source_run import Points, SourceRun, SourceRuns, plain, value_of_text
from search_space.parsing.errors import Problem, SpecError

__all__ = ["EVENT_FILES", "read_tensorboard"]

EVENT_FILES = "*tfevents*"
_START = "_hparams_/session_start_info"
_PAIR = re.compile(r"(?:^|(?<=[_ ]))([A-Za-z][A-Za-z0-9_.-]*?)=([^=]*?)(?=[_ ]+[A-Za-z][A-Za-z0-9_.-]*=|$)")


def read_tensorboard(path: Path, keys: Collection[str]) -> SourceRuns:
    """A run per folder with event files; folders below one belong to its run (`add_hparams` makes such).

    Raises:
        SpecError: there are no event files, or one has no scalar.
    """
    found = [path] if path.is_file() else path.rglob(EVENT_FILES)
    files = sorted(each for each in found if each.is_file() and each.match(EVENT_FILES))
    folders: dict[Path, list[Path]] = {path.parent: files} if path.is_file() and files else {}
    for folder in sorted({each.parent for each in files}) if not folders else ():
        top = next((each for each in reversed(folder.parents) if each in folders), folder)
        folders.setdefault(top, []).append(folder)
    root = path.parent if path.is_file() else path
    if not folders:
        raise SpecError(Problem("has no event files of TensorBoard", where=str(path)))
    runs = [_run(root, top, below, keys) for top, below in folders.items()]
    empty = [run for run in runs if not run.metrics]
    if empty:
        raise SpecError([Problem("has no scalars", where=run.where) for run in empty])
    return SourceRuns(tuple(runs), tuple(files), f"tensorboard {importlib.metadata.version('tensorboard')}")


def _run(root: Path, top: Path, parts: list[Path], keys: Collection[str]) -> SourceRun:
    history: dict[str, Points] = {}
    hparams: dict[str, Any] = {}
    last = 0.0
    for part in parts:  # folders, or one file
        events = EventAccumulator(str(part), size_guidance={"scalars": 0, "tensors": 0})
        events.Reload()
        tags = events.Tags()
        for tag in tags["scalars"]:
            points = events.Scalars(tag)
            last = max(last, points[-1].wall_time)
            history.setdefault(tag, [(point.step, point.value) for point in points])
        for tag in tags["tensors"]:  # how TensorFlow 2 writes a scalar
            if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
                numbers = [(each.step, float(make_ndarray(each.tensor_proto))) for each in events.Tensors(tag)]
                history.setdefault(tag, numbers)
        if _START in events.summary_metadata:
            content = events.summary_metadata[_START].plugin_data.content
            values = HParamsPluginData.FromString(content).session_start_info.hparams
            hparams |= {key: plain(getattr(each, each.WhichOneof("kind"))) for key, each in values.items()}
    name = top.relative_to(root).as_posix() if top != root else root.resolve().name
    return SourceRun(
        place=name,
        where=str(top),
        config=_from_name(name) | hparams,
        metrics={key: points[-1][1] for key, points in history.items() if points},
        history={key: points for key, points in history.items() if key in keys},
        finished_at=datetime.datetime.fromtimestamp(last, datetime.UTC).isoformat(timespec="seconds") if last else "",
    )


def _from_name(name: str) -> dict[str, Any]:
    parts = re.split(r"[,/]", name)
    return {key: value_of_text(value) for part in parts for key, value in _PAIR.findall(part.strip())}
