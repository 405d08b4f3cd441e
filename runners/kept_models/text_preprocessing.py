"""From a text, or a pair of texts, to the input of a model, as its trial was evaluated: vocabulary, lower case, length.

Shapes: B texts, L tokens; an input is (3, L): ids, sentence of each token (0 or 1), 1 for real tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from runners.data import DataInfo
from runners.data.text.glue import GLUE
from runners.data.text.wordpiece import WordPiece
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.task import TaskSpec
from search_space.schema.text_datasets import GlueSpec, TextTableSpec

__all__ = ["TextPreprocessing", "text_preprocessing"]


@dataclass(frozen=True)
class TextPreprocessing:
    """Callable from a text, or the two of a pair, to tokens (3, L), int64.

    Attributes:
        info: of the dataset that the model was trained on, with its vocabulary.
        lower: whether texts are lower-cased, and accents removed.
        num_texts: of one input: 2 of a dataset of pairs.
    """

    info: DataInfo = field(repr=False)
    lower: bool
    num_texts: int

    def __call__(self, *texts: str) -> Tensor:
        """The input of the model for one text; `[None]` behind it makes a batch.

        Raises:
            SpecError: it is no text, or not of as many as the dataset has.
        """
        if len(texts) != self.num_texts or not all(isinstance(each, str) for each in texts):
            came = ", ".join(type(each).__name__ for each in texts) or "nothing"
            asked = "a text" if self.num_texts == 1 else "two texts"
            hint = "prepare(text)" if self.num_texts == 1 else "prepare(first, second)"
            raise SpecError(Problem(f"{self.info.name!r} has {asked} in a row, but got {came}", hint=hint))
        ids, sentences = self._tokenizer.encode(texts, self.info.img_size[1])
        return torch.tensor([ids, sentences, [1] * len(ids)])

    def batch(self, texts: Sequence[str | tuple[str, ...]]) -> Tensor:
        """The inputs of several texts, or pairs, padded to the longest one: (B, 3, L)."""
        found = [self(*([each] if isinstance(each, str) else each)).T for each in texts]
        return pad_sequence(found, batch_first=True).transpose(1, 2).contiguous()

    @functools.cached_property
    def _tokenizer(self) -> WordPiece:
        return WordPiece(self.info.tokens, lower=self.lower)


def text_preprocessing(task: TaskSpec, info: DataInfo) -> TextPreprocessing | None:
    """Preprocessing of a task on text; None where the vocabulary is not known, and of drawn sentences, which have no
    texts."""
    dataset = task.dataset
    if not info.tokens or not isinstance(dataset, GlueSpec | TextTableSpec):
        return None
    columns = GLUE[dataset.task].inputs if isinstance(dataset, GlueSpec) else dataset.input_key
    return TextPreprocessing(info, lower=dataset.lower, num_texts=len(columns))
