"""What a sweep asks to be looked at in a trained model (`task.probes`): numbers for its record, arrays for plots.

Separate from the metrics of a task because probes belong to models, not to tasks: they are measured once, after the
last epoch, in evaluation mode and single precision, on the same test images for every variant and seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from modelzoo.probes import Probed, measure_probes
from results.store.run_layout import TrialDir
from runners.data import EvalBatches
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.trial import TaskSpec

__all__ = ["check_probe_options", "probe_model"]

_IMAGES_AT_A_TIME = 8
"""Maps of a batch are all in memory at once: 12 blocks of 12 heads over 197 tokens make some 22 MB an image."""


def probe_model(
    model: nn.Module, batches: EvalBatches, task: TaskSpec, *, num_images: int, directory: Path | None
) -> dict[str, float]:
    """The metrics of `task.probes`; none of those that the model has nothing for, which the trial's log says.

    Args:
        num_images: images in `batches`; `task.probe_images` of them are looked at, evenly spread.
        directory: where the arrays go if they are asked for.

    Raises:
        SpecError: arrays are asked for, and there is no directory.
    """
    if task.probe_arrays and directory is None:
        raise SpecError(Problem("probe arrays need a run directory to lie in", path="task.probe_arrays"))
    found = measure_probes(
        model,
        _spread(batches, num_images, task.probe_images),
        task.probes,
        similarity_threshold=task.similarity_threshold,
    )
    for note in found.notes:
        print(note, flush=True)
    if task.probe_arrays and directory is not None:
        _write(found, TrialDir(directory).probes)
    return {name: value for name, value in found.metrics.items() if math.isfinite(value)}


def check_probe_options(task: TaskSpec) -> Iterator[Problem]:
    """Options that speak of probes where there are none, or not those."""
    fields = type(task).model_fields
    owners = {"probe_images": "probes", "probe_arrays": "probes", "similarity_threshold": "`similar_blocks` in probes"}
    for name, owner in owners.items():
        is_used = "similar_blocks" in task.probes if name == "similarity_threshold" else bool(task.probes)
        if not is_used and getattr(task, name) != fields[name].default:
            yield Problem(
                f"without {owner}, {name}={getattr(task, name)!r} would have no effect",
                path=f"task.{name}",
                hint=f"leave {name} out, or list what to measure under task.probes",
            )
    for name in sorted({name for name in task.probes if task.probes.count(name) > 1}):
        yield Problem(f"{name!r} is listed twice", path="task.probes", hint="list each probe once")


def _spread(batches: EvalBatches, num_images: int, wanted: int) -> Iterator[Tensor]:
    """Every k-th image, `wanted` of them, or all: many test splits are sorted by class."""
    # A stream may not know its length: then the first ones.
    num_images = max(num_images, wanted) if num_images <= 0 else num_images
    wanted = min(wanted, num_images)
    chosen = {index * num_images // wanted for index in range(wanted)}
    seen = 0
    for images, _ in batches:
        mine = [index - seen for index in range(seen, seen + len(images)) if index in chosen]
        seen += len(images)
        if mine:
            yield from images[mine].split(_IMAGES_AT_A_TIME)


def _write(found: Probed, path: Path) -> None:
    """`attentions` names the rows of what is measured of attentions; NaN where two of them cannot be compared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: array.cpu().numpy() for name, array in found.arrays.items()}
    np.savez_compressed(path, attentions=np.array(found.names, dtype=str), **arrays)
