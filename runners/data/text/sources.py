"""Sources of text: drawn sentences, tasks of GLUE, and users' tables below `resources.data_dir`.

describe    sizes and counts
load        both splits as `Tokens`
open        both splits as they are stored, for the fingerprint; of drawn sentences the first ones
"""

from __future__ import annotations

from typing import Any

from runners.data.dataset_info import SourceInfo
from runners.data.text.glue import glue_splits
from runners.data.text.recall import NUM_CLASSES, TEST, TRAIN, VOCABULARY, draw_recall
from runners.data.text.splits import Texts, Tokens
from runners.data.text.tokenizing import tokenized, vocabulary_file, vocabulary_size
from runners.data.text.user_tables import table_splits
from search_space.schema.text_datasets import GlueSpec

__all__ = [
    "describe_recall",
    "describe_texts",
    "load_recall",
    "load_texts",
    "open_recall",
    "open_texts",
    "stored_texts",
]

_SAMPLE = 16
_NO_PIXELS = {"in_chans": 1, "mean": (0.0,), "std": (1.0,)}


def describe_recall(dataset: Any, resources: Any, in_memory_bytes: int) -> SourceInfo:
    return SourceInfo(
        img_size=(1, dataset.max_length),
        num_classes=NUM_CLASSES,
        num_train=dataset.num_train,
        num_test=dataset.num_test,
        vocabulary=VOCABULARY,
        **_NO_PIXELS,
    )


def load_recall(dataset: Any, resources: Any, found: Any, img_size: tuple[int, int]) -> tuple[Tokens, Tokens]:
    options = {"max_length": dataset.max_length, "seed": dataset.data_seed}
    train = draw_recall(dataset.num_train, split=TRAIN, **options)
    return train, draw_recall(dataset.num_test, split=TEST, **options)


def open_recall(dataset: Any, resources: Any) -> tuple[Tokens, Tokens]:
    few = {"num_train": min(_SAMPLE, dataset.num_train), "num_test": min(_SAMPLE, dataset.num_test)}
    return load_recall(dataset.model_copy(update=few), resources, None, (0, 0))


def describe_texts(dataset: Any, resources: Any, in_memory_bytes: int) -> SourceInfo:
    train, test = stored_texts(dataset, resources)
    return SourceInfo(
        img_size=(1, dataset.max_length),
        num_classes=len(train.class_names),
        num_train=len(train),
        num_test=len(test),
        vocabulary=vocabulary_size(dataset, resources.data_dir),
        class_names=train.class_names,
        **_NO_PIXELS,
    )


def load_texts(dataset: Any, resources: Any, found: Any, img_size: tuple[int, int]) -> tuple[Tokens, Tokens]:
    return tokenized(dataset, resources.data_dir, *stored_texts(dataset, resources))


def open_texts(dataset: Any, resources: Any) -> tuple[Texts, Texts]:
    """The splits with their files; a vocabulary that is named is a file of the training split."""
    train, test = stored_texts(dataset, resources)
    path = vocabulary_file(dataset, resources.data_dir)
    if path is None:
        return train, test
    files = (*train.files, (path.name, path))
    return Texts(train.texts, train.labels, files, train.lines, train.notes, train.class_names), test


def stored_texts(dataset: Any, resources: Any) -> tuple[Texts, Texts]:
    """The texts of both splits.

    Raises:
        SpecError: files are missing, or are not what the dataset says.
    """
    if isinstance(dataset, GlueSpec):
        return glue_splits(dataset, resources.data_dir)
    return table_splits(dataset, resources.data_dir)
