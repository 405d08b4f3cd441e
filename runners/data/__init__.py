"""Training, validation and test data of a trial.

    describe_dataset(task, resources)                              sizes and counts, cheap
    load_data(task, train, resources, device, img_size=, seed=)    batches

The validation split (`task.val_fraction`) is held out of the training split, stratified and the same for all seeds.
`sources.py` lists the sources of images.
"""

from __future__ import annotations

from runners.data.dataset_info import Batch, Data, DataInfo, EvalBatches, Images, TrainBatches
from runners.data.epochs import train_batch_size
from runners.data.loading import IN_MEMORY_BYTES, describe_dataset, load_data
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
