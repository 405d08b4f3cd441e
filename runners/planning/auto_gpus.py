"""`gpus: auto` as what it means where a sweep runs, and the GPUs that a sweep leaves unused without saying so.

Resolved once, when the plan is made and before anything is placed: plan, cache, forecast and engine then read the same
number. With `--address` the GPUs are those of the cluster's nodes, otherwise those of this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from runners.training.device import hide_gpus, kind_of_device
from search_space import SpecError, SweepFile, possible_resources

__all__ = ["Say", "hide_unused_gpus", "unused_gpus", "with_gpus_found"]

Say = Callable[[str], None]
"""Where messages for the user go."""


def with_gpus_found(file: SweepFile, num_gpus: Callable[[], int], *, say: Say = lambda text: None) -> SweepFile:
    """The sweep with `gpus: auto` as 1 or 0; the GPUs are counted only if it says so.

    Raises:
        SpecError: `resources.device` asks for a GPU, and there is none.
    """
    resources = file.sweep.resources
    if not resources.is_auto:
        return file
    found = num_gpus()
    if not found and resources.device == "cuda":
        hint = "`archsweep doctor` says more; without `device: cuda` the trials train on the CPU"
        raise SpecError(file.problem(("resources", "device"), "`cuda`, but `gpus: auto` finds no GPU", hint))
    say(f"gpus: auto: {_counted(found)}, so " + ("one for each trial" if found else "trials train on the CPU"))
    return replace(file, sweep=file.sweep.model_copy(update={"resources": resources.where_gpus_are(found)}))


def unused_gpus(files: Sequence[SweepFile], num_gpus: Callable[[], int]) -> str:
    """Remark on GPUs that no trial of these sweeps uses; empty where some trial does, or none is here, or the sweeps
    say `device`."""
    kinds = [kind for file in files for kind in possible_resources(file.sweep.resources)]
    if any(kind.asks_for_gpu or kind.device is not None for kind in kinds):
        return ""
    found = num_gpus()
    return f"{_counted(found)}, trials use none: --gpus-per-trial 1 (or `resources: {{device: cpu}}`)" if found else ""


def hide_unused_gpus(files: Sequence[SweepFile]) -> None:
    """Hide the GPUs from this process, which trains, if no trial of these sweeps uses one (`hide_gpus`). It does not
    find them later on."""
    kinds = [kind for file in files for kind in possible_resources(file.sweep.resources)]
    if all(kind_of_device(kind) == "cpu" for kind in kinds):
        hide_gpus(kinds[0])


def _counted(number: int) -> str:
    return f"{number or 'no'} GPU{'' if number == 1 else 's'} here"
