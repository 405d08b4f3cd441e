"""Trials of one shape, trained as one stacked model: each with its own reports, record and end.

A member is what a trial by itself is: its seed decides first weights, order of the data, augmentation and dropout; it
is measured by its own model, saved in its own checkpoint, and stopped, or failed, alone. Who shares its group changes
no digit of its numbers (docs/decisions/0024-fused-trials.md).

Further trials may join after an epoch, in the places of those that have ended. So members may be at different epochs;
those of one stack are at the same batch of theirs.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor

from results.store.records import Failure
from runners.data.fingerprint import check_data
from runners.tasks.classification import MeasuredClassification
from runners.training.gpu.numerics import numerics
from runners.training.loop import Trained
from runners.training.stacked.group_evaluation import GroupEvaluation, evaluated_together
from runners.training.stacked.group_steps import StackedTraining
from runners.training.stacked.member import GroupOptions, Member
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
from runners.training.trial_parts.setup import BuiltTrial
from runners.trials.out_of_memory import lack_of_memory
from runners.trials.outcome import NonFiniteLoss, Outcome, TimeLimit, failure_of
from search_space.schema.identity import trial_id
from search_space.schema.trial import TrialSpec

__all__ = ["Ended", "GroupReport", "run_group"]

GroupReport = Callable[[dict[str, dict[str, float]]], tuple[Collection[str], Sequence[TrialSpec]]]
"""Callback with the entry of the curve of every member that was measured, by trial id; returns the ids of those that
are to stop, and the trials that join the group."""

Ended = Callable[[str, Outcome | Failure], None]
"""Callback with the id of a member and how it ended; the others may go on."""

_CPU = torch.device("cpu")
_Found = TypeVar("_Found")


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
    _Group(options, report, ended, folder_of, on_resume, is_preempted).train(specs)


class _Present:
    """Members that train as one stack now.

    Attributes:
        members: in the order of the stack.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = list(members)
        first = self.members[0].built
        self.train = first.spec.train
        self.stack = StackedTraining([each.state for each in members], [each.generator for each in members], self.train)
        self.evaluation = GroupEvaluation(self.stack, first.data, self.train)
        if evaluated_together(first.spec.task, first.info):
            for member in self.members:
                measured = member.setup.evaluations[0].model
                assert isinstance(measured, MeasuredClassification)
                self.evaluation.take_over(member.state, measured, member.built.data)

    def keep(self, kept: Collection[Member]) -> None:
        """Let all other members leave the stack."""
        indices = [index for index, each in enumerate(self.members) if each in kept]
        if indices and len(indices) < len(self.members):
            self.stack.select(indices)
        self.members = [self.members[index] for index in indices]

    def give_back(self) -> None:
        """Give every member its whole state."""
        for index in range(len(self.members)):
            self.stack.give_back(index, with_optimizer=True)

    def save(self, members: Collection[Member]) -> None:
        """Write the checkpoints of these members."""
        for index, member in enumerate(self.members):
            if member in members:
                self.stack.give_back(index, with_optimizer=True)
                with member.streams():
                    member.setup.files[0].save(member.state)


class _Group:
    """What the members have in common while they train."""

    def __init__(
        self,
        options: GroupOptions,
        report: GroupReport,
        ended: Ended,
        folder_of: Callable[[str], Path | None],
        on_resume: Callable[[str, list[dict[str, float]]], None],
        is_preempted: Callable[[], bool],
    ) -> None:
        self._options = options
        self._report = report
        self._ended = ended
        self._folder_of = folder_of
        self._on_resume = on_resume
        self._is_preempted = is_preempted

    def train(self, specs: Sequence[TrialSpec]) -> None:
        """Train trials, and those that join them, to their ends: as one stack those that are at one stage."""
        members = self._set_up(specs, ())
        present: _Present | None = None
        while members:
            together = _next_together(members)
            others = [each for each in members if each not in together]
            with numerics(members[0].built.spec.train, _CPU):
                if present is None or present.members != together:
                    if present is not None:
                        present.give_back()
                    present = _Present(together)
                    self._end_completed(present)  # of which no more than the end was missing
                joins = self._epoch(present) if present.members else ()
            members = [*present.members, *others]
            members += self._set_up(joins, members)

    def _set_up(self, specs: Sequence[TrialSpec], beside: Sequence[Member]) -> list[Member]:
        """The members, each where its checkpoint has brought it; one that cannot be set up has ended."""
        members: list[Member] = []
        for spec in specs:
            key = trial_id(spec)
            like = next((each.built for each in (*beside, *members)), None)
            members += self._alive(key, functools.partial(self._resumed, spec, like))
        return members

    def _resumed(self, spec: TrialSpec, like: BuiltTrial | None) -> Member:
        member = Member(spec, self._options, self._folder_of(trial_id(spec)), like)
        with member.streams():
            if member.setup.files[0].resume(member.state):
                self._on_resume(member.key, [dict(point) for point in member.setup.evaluations[0].curve])
        return member

    def _epoch(self, present: _Present) -> Sequence[TrialSpec]:
        """Train an epoch, or what is left of it, and measure it; the trials that join. Who does not go on has left."""
        if not self._updates(present):
            present.save(present.members)
            for member in present.members:
                self._end(member, "preempted")
            present.keep(())
            return ()
        if present.members:
            self._measure(present)
        if not present.members:
            return ()
        stopped, joins = self._report({member.key: member.point for member in present.members})
        pruned = [each for each in present.members if each.key in stopped and not each.is_done]
        for member in pruned:
            self._end(member, "pruned")
        present.keep([each for each in present.members if each not in pruned])
        # With one all of its epoch: after a kill they then train as one stack, also where epochs must be the same.
        due = {each.state.epoch for each in present.members if each.setup.files[0].is_due(each.state)}
        present.save([each for each in present.members if each.state.epoch in due])
        self._end_completed(present)
        return joins

    def _end_completed(self, present: _Present) -> None:
        """End the members whose last epoch is trained, while the stack still has the weights of that epoch."""
        completed = [each for each in present.members if each.is_done]
        for member in completed:
            self._end(member, "completed")
        present.keep([each for each in present.members if each not in completed])

    def _updates(self, present: _Present) -> bool:
        """The updates that are left of the epoch; False if not all are done. Members whose losses are not finite have
        ended."""
        stack, train = present.stack, present.train
        num_batches = len(present.members[0].built.data.train)
        failed: set[str] = set()
        stack.begin_epoch()
        for member in present.members:
            begin_epoch(member.setup.task, member.state.epoch, frozen=())
            member.batches = batches_left(member.state, member.built.data)
        for batch in range(present.members[0].state.batches, num_batches):
            part = part_of_update(batch, num_batches, train.grad_accum_steps)
            if part.begins and self._is_preempted():
                return False
            members, began = present.members, time.perf_counter()
            losses = stack.update([next(each.batches) for each in members], part)
            for member, loss in zip(members, losses, strict=True):
                if member.key not in failed and not self._counted(member, loss, part, num_batches):
                    failed.add(member.key)
            finite = [each for each in members if each.key not in failed]
            if part.ends and finite:
                stack.end_update()
            share = (time.perf_counter() - began) / len(members)
            for member in members:
                member.state.seconds += share
                member.seconds += share
            # Within an update it would take the gradients so far with it, those of the others, too.
            if part.ends or not finite:
                present.keep(finite)
            if not finite:
                return True
        return True

    def _counted(self, member: Member, loss: Tensor, part: PartOfUpdate, num_batches: int) -> bool:
        """Count a batch of a member; False if its losses are not finite, with which it has ended."""
        try:
            count_batch(member.state, loss, part, average=lambda num_updates: None)
            if member.state.batches == num_batches:
                check_finite(member.state)
        except NonFiniteLoss as err:
            self._ended(member.key, failure_of(err))
            return False
        return True

    def _measure(self, present: _Present) -> None:
        """Measure an epoch, each for its share of the time; members that could not be measured have ended."""

        def measure(index: int, member: Member) -> Member:
            present.stack.give_back(index)
            with member.streams():
                measure_epoch(member.state)
            return member

        members = present.members
        began, before = time.perf_counter(), [member.seconds for member in members]
        present.evaluation.begin_epoch()
        found: list[Member] = []
        for index, member in enumerate(members):
            found += self._alive(member.key, functools.partial(measure, index, member), epoch=member.state.epoch + 1)
        share = (time.perf_counter() - began) / len(members)
        for member, seconds in zip(members, before, strict=True):
            member.seconds = seconds + share
        present.keep(found)

    def _end(self, member: Member, status: Literal["completed", "pruned", "preempted"]) -> None:
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


def _next_together(members: Sequence[Member]) -> list[Member]:
    """Members that train next as one stack: those that are within an epoch, or behind, until others are with them."""
    first = min(members, key=lambda each: (each.state.batches == 0, each.position))
    return [each for each in members if each.stage == first.stage]
