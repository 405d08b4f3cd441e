"""A trial of a group: what it is set up with, its state between epochs, its random streams and its time.

Everything of a member is that of a trial by itself; only its steps and its logits are computed with those of others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from results.plan.stored import Origin
from runners.data import Batch
from runners.data.epochs import updates_of
from runners.data.random_streams import generator_states, restore_generators, seed_of
from runners.training.state import TrainingState
from runners.training.trial_parts.setup import BuiltTrial, build_trial
from runners.trials.form import needs_one_epoch
from search_space.schema.identity import trial_id
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import TrialSpec

__all__ = ["GroupOptions", "Member"]

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class GroupOptions:
    """What is the same for all members; as the arguments of `run_trial`."""

    resources: Resources
    checkpoints: Checkpoints
    metric: str
    keep_predictions: bool
    keep_samples: int
    origin: Origin


class Member:
    """A trial of the group: what it is set up with, its state between epochs, its random streams and its time."""

    def __init__(self, spec: TrialSpec, options: GroupOptions, folder: Path | None, like: BuiltTrial | None) -> None:
        began = time.perf_counter()
        self.key = trial_id(spec)
        self.seconds = 0.0
        self.generator = torch.Generator()
        self.batches: Iterator[Batch] = iter(())
        self._drawn: dict[str, Any] | None = None  # states of the global generators as this trial left them
        built = build_trial(spec, resources=options.resources, device=_CPU, fingerprint=options.origin.data, like=like)
        self.seconds += time.perf_counter() - began
        self.built = built
        with self.streams():
            kept = {"metric": options.metric, "keep_predictions": options.keep_predictions}
            origin = " ".join(filter(None, (*options.origin.model_dump().values(), "fused")))
            self.setup = built.set_up(folder, options.checkpoints, **kept, origin=origin, spent=lambda: self.seconds)
            self.state = TrainingState(
                self.setup.task,
                spec.train,
                seed=seed_of(spec),
                updates_per_epoch=updates_of(len(built.data.train), spec.train),
                device=_CPU,
                evaluations=self.setup.evaluations,
            )

    @contextmanager
    def streams(self) -> Iterator[None]:
        """Random streams of the trial as it left them, in the place of the process's; its time runs inside."""
        began = time.perf_counter()
        with self.built.streams():
            if self._drawn is not None:
                restore_generators({**self._drawn, "torch": self.generator.get_state()}, _CPU)
            try:
                yield
            finally:
                self._drawn = generator_states(_CPU)
                self.generator.set_state(self._drawn["torch"])
        self.seconds += time.perf_counter() - began

    @property
    def position(self) -> tuple[int, int]:
        """Epochs done, and batches of the next one."""
        return self.state.epoch, self.state.batches

    @property
    def stage(self) -> tuple[int, int]:
        """Equal for members that may be in one stack: it updates all weights after the same batches."""
        return self.position if needs_one_epoch(self.built.spec.train) else (0, self.state.batches)

    @property
    def is_done(self) -> bool:
        """Whether its last epoch is trained: it is not pruned then."""
        return self.state.epoch == self.built.spec.train.epochs

    @property
    def point(self) -> dict[str, float]:
        """The latest entry of its curve."""
        return dict(self.setup.evaluations[0].curve[-1])
