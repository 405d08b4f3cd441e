"""Checkpoint of a trial, `trials/<trial_id>/checkpoint.pt`: written atomically, read as untrusted input.

Why not Tune's checkpoints: they are in Tune's storage, and nothing of Tune may outlive the driver (decision 1). A
checkpoint is loaded with `weights_only`, so that an untrusted file executes nothing, and used only if it is of the same
trial and was written by the same versions: any other is ignored with a message, and the trial starts from scratch.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import json
import pickle
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from results.store.files import atomic_writer
from results.store.links import folder_within
from results.store.run_layout import TrialDir, left_temporaries
from runners.data import DataInfo
from runners.training.process_group import ALONE, ProcessGroup
from runners.training.state import TrainingState
from runners.trials.out_of_memory import lack_of_memory
from runners.trials.outcome import TimeLimit
from search_space.parsing.errors import SpecError
from search_space.schema.identity import canonical_json, trial_id
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import TrialSpec

__all__ = ["DATA_KEY", "TrialCheckpoint"]

DATA_KEY = "data"
"""Of the metadata of kept weights: sizes, statistics and class names of the dataset, a `DataInfo` as JSON."""

_FORMAT = 2


class TrialCheckpoint:
    """Saving and resuming of one trial in its directory.

    Args:
        directory: directory of the trial; without one nothing is saved.
        origin: data, code and software of the trial, as text.
        spent: seconds that the trial has taken since it was begun here; default: all since now.
        say: prints a message for the user about a file that was ignored or could not be written.

    Attributes:
        earlier_seconds: time that the trial had taken before it was interrupted.
    """

    def __init__(
        self,
        spec: TrialSpec,
        directory: Path | None,
        settings: Checkpoints,
        *,
        origin: str = "",
        processes: ProcessGroup = ALONE,
        clock: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] | None = None,
        say: Callable[[str], None] = lambda text: print(text, flush=True),
    ) -> None:
        self._spec = spec
        self._files = TrialDir(directory) if directory else None
        self._settings = settings
        self._origin = origin
        self._processes = processes
        self._clock = clock
        self._say = say if processes.is_first else lambda text: None
        began = self._saved_at = clock()
        self._spent = spent or (lambda: clock() - began)
        self.earlier_seconds = 0.0

    def resume(self, state: TrainingState) -> bool:
        """Load the trial's checkpoint into `state`; False if there is no usable one."""
        if self._files is None:
            return False
        path = self._files.checkpoint
        if self._processes.is_first:
            for left in left_temporaries(path):
                left.unlink(missing_ok=True)
        if not path.exists():
            return False
        is_read = False
        try:
            stored = torch.load(path, map_location="cpu", weights_only=True)
            is_read = True
            reason = self._reason_against(stored)
            if not reason:
                state.load_state_dict(stored["state"])
                self.earlier_seconds = float(stored["seconds"])
        except TimeLimit:
            raise
        except pickle.UnpicklingError:
            reason = "it holds more than tensors and plain values, or is damaged; none of it was executed"
        except Exception as err:  # a damaged file can raise any exception
            if is_read and lack_of_memory(err) is not None:  # of the device; alone there may be room for it
                raise
            reason = f"{type(err).__name__}: {err}".splitlines()[0]
        if len(set(self._processes.gather(not reason))) > 1:
            raise RuntimeError(f"not every process of the trial could read {path}: {reason or 'this one could'}")
        if reason:
            self._say(f"{path.name} ignored, the trial starts from scratch: {reason}")
            return False
        self._say(f"continued from {path.name}: {state.epoch} epochs and {state.updates_of_epoch} updates done")
        return True

    def save_if_due(self, state: TrainingState) -> None:
        """Save after a finished epoch if one is due by `every_epochs` and `min_seconds`."""
        if self.is_due(state):
            self.save(state)

    def is_due(self, state: TrainingState) -> bool:
        """Whether a checkpoint of this finished epoch is due; a collective, as `save`."""
        every = self._settings.every_epochs
        is_due = every > 0 and state.epoch % every == 0
        return is_due and self._processes.agree(lambda: self._clock() - self._saved_at >= self._settings.min_seconds)

    def save(self, state: TrainingState) -> bool:
        """Write the checkpoint; False, with a message, if that fails: training continues without it.

        A collective: all processes of a trial must call it together; rank 0 writes.
        """
        seconds = self.earlier_seconds + self._spent()
        stored = {**self._identity(), "seconds": seconds, "state": state.state_dict()}
        is_written = (
            self._files is not None
            and self._processes.is_first
            and self._write(self._files.checkpoint, lambda stream: torch.save(stored, stream))
        )
        self._saved_at = self._clock()
        return is_written

    def keep_weights(self, weights: dict[str, Tensor], *, epoch: int, chosen_by: str, info: DataInfo) -> None:
        """Write the weights of a completed trial, which are kept, with what a use of them needs of the data."""
        if self._files is None:
            return
        from safetensors.torch import save  # only here: most trials keep nothing

        metadata = {
            "format": "pt",
            "trial_id": trial_id(self._spec),
            "spec": canonical_json(self._spec),
            "epoch": str(epoch),
            "chosen_by": chosen_by,
            DATA_KEY: json.dumps(dataclasses.asdict(info)),
        }
        # safetensors requires contiguous tensors that share no memory
        tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}
        self._write(self._files.weights, lambda stream: stream.write(save(tensors, metadata=metadata)))

    def _write(self, path: Path, write: Callable[[Any], Any]) -> bool:
        try:
            folder_within(path.parent, TrialDir(path.parent).run_dir())
            with atomic_writer(path) as stream:
                write(stream)
        # PyTorch's writer raises RuntimeError on a full disk.
        except (SpecError, OSError, RuntimeError) as err:
            reason = err.problems[0].message if isinstance(err, SpecError) else str(err).splitlines()[0]
            if "inline_container.cc" in reason:  # PyTorch's words for a position that the file does not have
                reason = "only a part of it could be written"
            self._say(f"{path.name} not written, the training goes on: {reason.removeprefix('cannot write: ')}")
            return False
        return True

    def _identity(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "trial_id": trial_id(self._spec),
            "spec": canonical_json(self._spec),
            "versions": dict(_versions()),
            "origin": self._origin,
        }

    def _reason_against(self, stored: Any) -> str:
        ours = self._identity()
        if not isinstance(stored, dict) or not isinstance(stored.get("format"), int) or "state" not in stored:
            return "it is no checkpoint of a trial"
        if stored["format"] != _FORMAT:
            return f"it has format {stored['format']}, this archsweep writes {_FORMAT}"
        if stored.get("trial_id") != ours["trial_id"] or stored.get("spec") != ours["spec"]:
            return f"it is of trial {stored.get('trial_id')!r}, this is {ours['trial_id']!r}"
        theirs = stored.get("versions")
        for name, version in ours["versions"].items():
            other = theirs.get(name) if isinstance(theirs, dict) else None
            if other != version:
                return f"it was written with {name} {other}, this is {version}"
        if stored.get("origin") != ours["origin"]:
            return f"it is of other data, code or software: {stored.get('origin')!r}, this is {ours['origin']!r}"
        return ""


@functools.cache
def _versions() -> Mapping[str, str]:
    versions = {}
    for name in ("archsweep", "timm", "torch"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # source that was shipped to a worker without being installed
            versions[name] = "unknown"
    return versions
