"""Exact cost of a text network, counted on the meta device as the cost of an image classifier is.

Matrix products, convolutions of maps and fused attention are counted, for a text of the full length; embeddings, norms,
softmax and other element-wise operations are not. Padding is computed like any token.
"""

from __future__ import annotations

import functools

import torch

from modelzoo.factory.cost import Cost, counted
from modelzoo.text.build import build_text_encoder
from search_space.schema.trial import ArchSpec

__all__ = ["measure_text_cost"]


def measure_text_cost(arch: ArchSpec, *, vocabulary: int, max_length: int, num_outputs: int) -> Cost:
    """Parameters, and multiply-accumulates of one text of `max_length` tokens in evaluation mode; results are cached.

    Raises:
        SpecError: the architecture cannot be built.
    """
    return _measure(arch.model_dump_json(), vocabulary, max_length, num_outputs)


@functools.lru_cache(maxsize=4096)
def _measure(arch_json: str, vocabulary: int, max_length: int, num_outputs: int) -> Cost:
    arch = ArchSpec.model_validate_json(arch_json)
    with torch.device("meta"):
        sizes = {"vocabulary": vocabulary, "max_length": max_length, "num_outputs": num_outputs}
        model = build_text_encoder(arch, **sizes).eval()
        text = torch.ones(1, 3, max_length, dtype=torch.int64)
    return counted(model, text)[0]
