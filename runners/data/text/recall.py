"""`builtin/recall`: sentences of pairs of a key and a value, and the question which value a key had.

    CLS  key value filler*  key value filler*  key value filler*  SEP  key  SEP

Three to six pairs with distinct keys, 0 to 2 fillers after each, then one of the keys; the label is its value (4
classes). Values are independent of the question, so that no local feature gives the label: the query must find its key
far away, and read what is beside it. Guessing gives 25 %.

Text i of a split is drawn from its own stream (data_seed, split, i): it does not depend on `num_train`, and is never
shared between train and test. The streams are `RandomState`s, frozen by NumPy's compatibility policy.

Ids: 0 PAD, 2 CLS, 3 SEP, 5 to 12 keys, 13 to 16 values, 17 to 24 fillers.
"""

from __future__ import annotations

import numpy as np
import torch

from runners.data.text.splits import Tokens

__all__ = ["NUM_CLASSES", "TEST", "TRAIN", "VOCABULARY", "draw_recall"]

VOCABULARY = 25
NUM_CLASSES = 4
TRAIN, TEST = 0, 1
_CLS, _SEP = 2, 3
_KEYS = np.arange(5, 13)
_VALUES = np.arange(13, 17)
_FILLERS = np.arange(17, 25)
_FEWEST_PAIRS, _MOST_PAIRS = 3, 6
_MOST_FILLERS = 2


def draw_recall(num_texts: int, *, split: int, max_length: int, seed: int) -> Tokens:
    """First `num_texts` texts of a split (0: train, 1: test), padded to `max_length`."""
    tokens = np.zeros((num_texts, 3, max_length), dtype=np.int16)
    labels = np.empty(num_texts, dtype=np.int64)
    for index in range(num_texts):
        ids, labels[index] = _draw(
            np.random.RandomState(np.random.MT19937(np.random.SeedSequence((seed, split, index))))
        )
        tokens[index, 0, : len(ids)] = ids
        tokens[index, 2, : len(ids)] = 1
    return Tokens(torch.from_numpy(tokens), torch.from_numpy(labels))


def _draw(stream: np.random.RandomState) -> tuple[list[int], int]:
    """Token ids of a text, and its label."""
    num_pairs = stream.randint(_FEWEST_PAIRS, _MOST_PAIRS + 1)
    keys = stream.permutation(_KEYS)[:num_pairs]
    values = stream.randint(NUM_CLASSES, size=num_pairs)
    ids = [_CLS]
    for key, value in zip(keys, values, strict=True):
        fillers = _FILLERS[stream.randint(len(_FILLERS), size=stream.randint(_MOST_FILLERS + 1))]
        ids += [int(key), int(_VALUES[value]), *fillers.tolist()]
    asked = stream.randint(num_pairs)
    return [*ids, _SEP, int(keys[asked]), _SEP], int(values[asked])
