"""`arch.model: bert` -> network: the encoder is built with softmax attention, then mechanisms are put on its maps.

This order makes comparisons paired, as for images: at equal seed, all weights that two variants share are initially
bit-equal, and what a mechanism adds is drawn from a stream of its own per block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from modelzoo.attention import ATTENTION, Slot
from modelzoo.attention.contract import check_heads
from modelzoo.attention.placebo import check_placebo
from modelzoo.hosts.site import own_random_numbers
from modelzoo.hosts.swap import chosen_indices
from modelzoo.text.encoder import BertEncoder
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.trial import ArchSpec
from search_space.settings.text_relations import bert_relations

__all__ = ["TextClassifier", "build_text_encoder"]


class TextClassifier(nn.Module):
    """BERT with dropout and a linear layer on its pooled token: (B, 3, N) integers -> (B, outputs).

    Names of weights as in the released models.
    """

    def __init__(self, bert: BertEncoder, *, dim: int, num_outputs: int, head_dropout: float) -> None:
        super().__init__()
        self.bert = bert
        self.dropout = nn.Dropout(head_dropout)
        self.classifier = nn.Linear(dim, num_outputs)
        nn.init.normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, text_B3N: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.bert(text_B3N)))


def build_text_encoder(
    arch: ArchSpec,
    *,
    vocabulary: int,
    max_length: int,
    num_outputs: int,
    head_dropout: float = 0.1,
    seed: int | None = None,
) -> TextClassifier:
    """Build BERT with a head in training mode, with fresh weights on the current default device.

    Args:
        vocabulary: Number of token ids.
        max_length: Most tokens of a text, and number of position embeddings.
        num_outputs: Classes, or 1 for a number.
        head_dropout: Rate before the classifier.
        seed: Seed of the weights; torch's global generator is then unchanged. None draws from that generator.

    Raises:
        SpecError: the architecture cannot be built; the problems have their path below `arch`.
    """
    _check(arch)
    options = {"vocabulary": vocabulary, "max_length": max_length}
    if seed is None:
        return _build(arch, options, num_outputs, head_dropout, seed=torch.initial_seed())
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return _build(arch, options, num_outputs, head_dropout, seed=seed)


def _build(
    arch: ArchSpec, options: dict[str, Any], num_outputs: int, head_dropout: float, *, seed: int
) -> TextClassifier:
    # `model: bert` has explicit defaults, so none of these is None.
    depth, dim, num_heads, ratio = arch.depth, arch.embed_dim, arch.num_heads, arch.mlp_ratio
    assert depth is not None and dim is not None and num_heads is not None and ratio is not None  # noqa: PT018
    bert = BertEncoder(
        depth=depth,
        dim=dim,
        num_heads=num_heads,
        hidden=int(dim * ratio),
        attn_drop=arch.attn_drop_rate,
        drop=arch.proj_drop_rate,
        **options,
    )
    model = TextClassifier(bert, dim=dim, num_outputs=num_outputs, head_dropout=head_dropout)
    _refine(bert, arch, Slot(dim=dim, num_heads=num_heads), seed=seed)
    return model


def _refine(bert: BertEncoder, arch: ArchSpec, slot: Slot, *, seed: int) -> None:
    """Put the mechanism on the maps of the chosen blocks; `softmax` is what the encoder has."""
    spec = arch.attention
    if spec.name == "softmax":
        return
    kind = ATTENTION[spec.name]
    left_out = {"name", "blocks"} | kind.layout
    options = {name: getattr(spec, name) for name in type(spec).model_fields if name not in left_out}
    for index in chosen_indices(spec.blocks, len(bert.blocks)):
        attention = bert.blocks[index].attention.self
        with own_random_numbers(attention.query, seed, index):
            attention.refine(kind(slot, **options))
    check_placebo(bert, spec)


def _check(arch: ArchSpec) -> None:
    if arch.model != "bert":
        message = f"the task 'text' needs a model of text, and {arch.model!r} takes images"
        raise SpecError(Problem(message, path="arch.model", hint="write arch.model: bert"))
    problems = [Problem(each.message, path=each.path, hint=each.hint) for each in bert_relations(arch)]
    if problems:
        raise SpecError(problems)
    assert arch.embed_dim is not None and arch.num_heads is not None and arch.mlp_ratio is not None  # noqa: PT018
    check_heads(Slot(dim=arch.embed_dim, num_heads=arch.num_heads))
    if arch.embed_dim * arch.mlp_ratio < 1:
        given = f"embed_dim={arch.embed_dim}, mlp_ratio={arch.mlp_ratio:g}"
        message = f"embed_dim * mlp_ratio >= 1 must hold, but got {given}"
        hint = f"choose a mlp_ratio of at least {1 / arch.embed_dim:.3g}"
        raise SpecError(Problem(message, path="arch.mlp_ratio", hint=hint))
