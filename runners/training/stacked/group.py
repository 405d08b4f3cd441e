"""Trials of one shape, trained as one stacked model: each with its own reports, record and end.

A member is what a trial by itself is: its seed decides first weights, order of the data, augmentation and dropout; it
is measured by its own model, saved in its own checkpoint, and stopped, or failed, alone. Who shares its group changes
no digit of its numbers (docs/decisions/0024-fused-trials.md).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from results.store.records import Failure, Origin
from runners.data import Batch
from runners.data.epochs import updates_of
from runners.data.fingerprint import check_data
from runners.data.random_streams import generator_states, restore_generators
from runners.tasks.classification import MeasuredClassification
from runners.training.gpu.numerics import numerics
from runners.training.loop import Trained
from runners.training.stacked.group_evaluation import GroupEvaluation, evaluated_together
from runners.training.stacked.group_steps import StackedTraining
from runners.training.state import TrainingState
from runners.training.trial_parts.ending import end_trial
from runners.training.trial_parts.epoch import (
    PartOfUpdate,
    batches_left,
    begin_epoch,
    check_finite,
    count_batch,
    measure_epoch,
    part_of_update,
)
from runners.training.trial_parts.setup import BuiltTrial, build_trial
from runners.trials.out_of_memory import lack_of_memory
from runners.trials.outcome import NonFiniteLoss, Outcome, TimeLimit, failure_of
from search_space.schema.identity import trial_id
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import TrialSpec

__all__ = ["Ended", "GroupOptions", "GroupReport", "run_group"]

GroupReport = Callable[[dict[str, dict[str, float]]], Collection[str]]
"""Callback with the entry of the curve of every member, by trial id; returns the ids of those that are to stop."""

Ended = Callable[[str, Outcome | Failure], None]
"""Callback with the id of a member and how it ended; the others may go on."""

_CPU = torch.device("cpu")
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class GroupOptions:
    """What is the same for all members; as the arguments of `run_trial`."""

    resources: Resources
    checkpoints: Checkpoints
    metric: str
    keep_predictions: bool
    keep_samples: int
    origin: Origin


def run_group(
    specs: Sequence[TrialSpec],
    *,
    options: GroupOptions,
    report: GroupReport,
    ended: Ended,
    folder_of: Callable[[str], Path | None] = lambda key: None,
    on_resume: Callable[[str, list[dict[str, float]]], None] = lambda key, curve: None,
    is_preempted: Callable[[], bool] = lambda: False,
) -> None:
    """Train and evaluate trials that differ in their seeds, and in such settings only of which every member of a stack
    has its own (`stack_of`).

    Args:
        report: called after every epoch, for the members that are measured.
        ended: called once for each member.
        folder_of: directory of a trial, for its checkpoint and the files beside its record.
        on_resume: receives the curve so far of a member that resumes from its checkpoint.
        is_preempted: polled before every update; on True all members are saved and end as `preempted`.

    Raises:
        DataChanged: the data here is not that of the origin.
        TimeLimit, MemoryError, ...: what ends the training of all members that have not ended.
    """
    if options.origin.data:
        check_data(specs[0].task, options.resources, options.origin.data)
    group = _Group(options, report, ended, on_resume, is_preempted)
    # After a kill some may have a later checkpoint than others: those of one position train together.
    members = sorted(group.set_up(specs, folder_of), key=lambda each: each.position)
    for _, together in groupby(members, key=lambda each: each.position):
        group.train(list(together))


class _Member:
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
                seed=spec.seed,
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
    def is_done(self) -> bool:
        """Whether its last epoch is trained: it is not pruned then."""
        return self.state.epoch == self.built.spec.train.epochs

    @property
    def point(self) -> dict[str, float]:
        """The latest entry of its curve."""
        return dict(self.setup.evaluations[0].curve[-1])


class _Group:
    """What the members have in common while they train."""

    def __init__(
        self,
        options: GroupOptions,
        report: GroupReport,
        ended: Ended,
        on_resume: Callable[[str, list[dict[str, float]]], None],
        is_preempted: Callable[[], bool],
    ) -> None:
        self._options = options
        self._report = report
        self._ended = ended
        self._on_resume = on_resume
        self._is_preempted = is_preempted

    def set_up(self, specs: Sequence[TrialSpec], folder_of: Callable[[str], Path | None]) -> list[_Member]:
        """The members, each where its checkpoint has brought it; one that cannot be set up has ended."""
        members: list[_Member] = []
        for spec in specs:
            key = trial_id(spec)
            like = members[0].built if members else None
            members += self._alive(key, functools.partial(self._set_up, spec, folder_of(key), like))
        return members

    def _set_up(self, spec: TrialSpec, folder: Path | None, like: BuiltTrial | None) -> _Member:
        member = _Member(spec, self._options, folder, like)
        with member.streams():
            if member.setup.files[0].resume(member.state):
                self._on_resume(member.key, [dict(point) for point in member.setup.evaluations[0].curve])
        return member

    def train(self, members: Sequence[_Member]) -> None:
        """Train members of one position to their ends."""
        train = members[0].built.spec.train
        left = list(members)
        with numerics(train, _CPU):
            stack = StackedTraining([each.state for each in left], [each.generator for each in left], train)
            evaluation = GroupEvaluation(stack, left[0].built.data, train)
            if evaluated_together(left[0].built.spec.task, left[0].built.info):
                for member in left:
                    measured = member.setup.evaluations[0].model
                    assert isinstance(measured, MeasuredClassification)
                    evaluation.take_over(member.state, measured, member.built.data)
            while left and left[0].state.epoch < train.epochs:
                left = self._epoch(stack, evaluation, left)
        for member in left:
            self._end(member, "completed")

    def _epoch(self, stack: StackedTraining, evaluation: GroupEvaluation, members: list[_Member]) -> list[_Member]:
        """Train an epoch, or what is left of it, and measure it; the members that go on."""
        members, is_whole = self._updates(stack, members)
        if not is_whole:
            for index, member in enumerate(members):
                stack.give_back(index, with_optimizer=True)
                with member.streams():
                    member.setup.files[0].save(member.state)
                self._end(member, "preempted")
            return []
        members = _kept(stack, members, self._measured(stack, evaluation, members))
        stopped = self._report({member.key: member.point for member in members}) if members else ()
        goes_on = [each for each in members if each.key not in stopped or each.is_done]
        for member in members:
            if member not in goes_on:
                self._end(member, "pruned")
        members = _kept(stack, members, goes_on)
        if any(member.setup.files[0].is_due(member.state) for member in members):
            for index, member in enumerate(members):
                stack.give_back(index, with_optimizer=True)
                with member.streams():
                    member.setup.files[0].save(member.state)
        return members

    def _updates(self, stack: StackedTraining, members: list[_Member]) -> tuple[list[_Member], bool]:
        """The updates that are left of the epoch; the members whose losses are finite, and whether all updates are
        done."""
        train = members[0].built.spec.train
        num_batches = len(members[0].built.data.train)
        failed: set[str] = set()
        stack.begin_epoch()
        for member in members:
            begin_epoch(member.setup.task, member.state.epoch, frozen=())
            member.batches = batches_left(member.state, member.built.data)
        for batch in range(members[0].state.batches, num_batches):
            part = part_of_update(batch, num_batches, train.grad_accum_steps)
            if part.begins and self._is_preempted():
                return members, False
            began = time.perf_counter()
            losses = stack.update([next(each.batches) for each in members], part)
            for member, loss in zip(members, losses, strict=True):
                if member.key not in failed and not self._counted(member, loss, part, num_batches):
                    failed.add(member.key)
            finite = [each for each in members if each.key not in failed]
            if part.ends and finite:
                stack.end_update(finite[0].state.updates)
            share = (time.perf_counter() - began) / len(members)
            for member in members:
                member.state.seconds += share
                member.seconds += share
            if part.ends:  # within an update it would take the gradients so far with it, those of the others, too
                members = _kept(stack, members, finite)
            if not finite:
                return [], True
        return members, True

    def _counted(self, member: _Member, loss: Tensor, part: PartOfUpdate, num_batches: int) -> bool:
        """Count a batch of a member; False if its losses are not finite, with which it has ended."""
        try:
            count_batch(member.state, loss, part, average=lambda num_updates: None)
            if member.state.batches == num_batches:
                check_finite(member.state)
        except NonFiniteLoss as err:
            self._ended(member.key, failure_of(err))
            return False
        return True

    def _measured(
        self, stack: StackedTraining, evaluation: GroupEvaluation, members: Sequence[_Member]
    ) -> list[_Member]:
        """Measure an epoch, each for its share of the time; the members that were measured, others have ended."""

        def measure(index: int, member: _Member) -> _Member:
            stack.give_back(index)
            with member.streams():
                measure_epoch(member.state)
            return member

        began, before = time.perf_counter(), [member.seconds for member in members]
        evaluation.begin_epoch()
        found: list[_Member] = []
        for index, member in enumerate(members):
            found += self._alive(member.key, functools.partial(measure, index, member), epoch=member.state.epoch + 1)
        share = (time.perf_counter() - began) / len(members)
        for member, seconds in zip(members, before, strict=True):
            member.seconds = seconds + share
        return found

    def _end(self, member: _Member, status: Literal["completed", "pruned", "preempted"]) -> None:
        def outcome() -> Outcome:
            with member.streams():
                metrics: tuple[dict[str, float], ...] = ()
                if status == "completed":
                    metrics = (member.setup.evaluations[0].final_metrics(member.state.precision),)
                trained = Trained(status, member.state.seconds, metrics)
                samples = self._options.keep_samples
                return end_trial(member.setup, trained, keep_samples=samples, spent=lambda: member.seconds)

        for found in self._alive(member.key, outcome, epoch=member.state.epoch):
            self._ended(member.key, found)

    def _alive(self, key: str, action: Callable[[], _Found], *, epoch: int = 1) -> list[_Found]:
        """What an action of one member gives; nothing where it fails, with which the member has ended.

        Raises:
            TimeLimit, MemoryError, ...: what the members have in common has ended.
        """
        try:
            return [action()]
        except Exception as err:
            if isinstance(err, TimeLimit) or lack_of_memory(err) is not None:
                raise
            failure = failure_of(err, epoch=epoch)
            print(failure.traceback, flush=True)
            self._ended(key, failure)
            return []


def _kept(stack: StackedTraining, members: list[_Member], kept: list[_Member]) -> list[_Member]:
    """The members that stay, alone in the stack."""
    if kept and len(kept) < len(members):
        stack.select([index for index, each in enumerate(members) if each in kept])
    return kept
