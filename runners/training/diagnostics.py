"""Probes of a trained model (`task.probes`): metrics for its record, arrays for plots.

Separate from the metrics of a task because probes depend on models, not on tasks: they are measured once, after the
last epoch, in evaluation mode and single precision, on the same test images for every variant and seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from modelzoo.attention.map_precision import float32_products
from modelzoo.probes import Probed, measure_probes
from results.store.links import folder_within, opener_within
from results.store.run_layout import TrialDir
from runners.data import EvalBatches
from runners.data.text.batches import unpadded
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.trial import TaskSpec

__all__ = ["PROBED_AT_ONCE", "probe_model"]

PROBED_AT_ONCE = 8
"""Attention maps of a batch are all in memory at once: 12 blocks of 12 heads over 197 tokens take 22 MB an image."""


def probe_model(
    model: nn.Module, batches: EvalBatches, task: TaskSpec, *, num_images: int, directory: Path | None
) -> dict[str, float]:
    """Metrics of `task.probes`. A probe that does not apply to the model is left out, with a line in the trial's log.

    Args:
        num_images: images in `batches`; `task.probe_images` of them are used, evenly spread.
        directory: directory for the arrays of `task.probe_arrays`.

    Raises:
        SpecError: arrays are requested, and there is no directory.
    """
    if task.probe_arrays and directory is None:
        raise SpecError(Problem("probe arrays need a run directory", path="task.probe_arrays"))
    images = _spread(batches, num_images, task.probe_images, one_by_one=task.labelled == "texts")
    with float32_products("ieee"):
        found = measure_probes(model, images, task.probes, similarity_threshold=task.similarity_threshold)
    for note in found.notes:
        print(note, flush=True)
    if task.probe_arrays and directory is not None:
        _write(found, TrialDir(directory))
    return {name: value for name, value in found.metrics.items() if math.isfinite(value)}


def _spread(batches: EvalBatches, num_images: int, wanted: int, *, one_by_one: bool) -> Iterator[Any]:
    """`wanted` evenly spaced images, or all if there are fewer: many test splits are sorted by class.

    Args:
        one_by_one: of text, each by itself and without its padding, which is no token that attends.
    """
    # A stream may not report its length: then the first images.
    num_images = max(num_images, wanted) if num_images <= 0 else num_images
    wanted = min(wanted, num_images)
    chosen = {index * num_images // wanted for index in range(wanted)}
    seen = 0
    for images, _ in batches:
        mine = [index - seen for index in range(seen, seen + len(images)) if index in chosen]
        seen += len(images)
        if mine and isinstance(images, list):
            yield from ([images[index]] for index in mine)
        elif mine:
            yield from unpadded(images[mine]) if one_by_one else images[mine].split(PROBED_AT_ONCE)


def _write(found: Probed, trial: TrialDir) -> None:
    """Write the arrays as .npz. `attentions` names the rows of attention probes; NaN where two are not comparable."""
    folder_within(trial.path, trial.run_dir())
    arrays: dict[str, Any] = {name: array.cpu().numpy() for name, array in found.arrays.items()}
    with open(trial.probes, "wb", opener=opener_within(trial.run_dir())) as stream:
        np.savez_compressed(stream, attentions=np.array(found.names, dtype=str), **arrays)
