"""Which images a trial learns from and is measured on.

    describe_dataset(task, resources)                              facts, cheap: sizes and counts
    load_data(task, train, resources, device, img_size=, seed=)    batches

The validation split (`task.val_fraction`) is cut off the training split, stratified and the same for all seeds. Sources
stand in `sources.py`.
"""

from __future__ import annotations

from runners.data.dataset_info import Batch, Data, DataInfo, EvalBatches, Images, TrainBatches
from runners.data.loading import IN_MEMORY_BYTES, describe_dataset, load_data, train_batch_size
from runners.data.sources import SOURCES

__all__ = [
    "IN_MEMORY_BYTES",
    "SOURCES",
    "Batch",
    "Data",
    "DataInfo",
    "EvalBatches",
    "Images",
    "TrainBatches",
    "describe_dataset",
    "load_data",
    "train_batch_size",
]
