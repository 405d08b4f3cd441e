"""Projection head of DINO: an MLP to a bottleneck, L2 normalisation, and cosine-like logits of the prototypes.

Paper:   DINO, Caron et al. 2021, arXiv:2104.14294, appendix C.
Source:  written from a description of the released head; names of weights are the released ones. Checked against
         recorded outputs.
Differs: the weight-normalised layer is a module of its own instead of torch's deprecated hook. Where its lengths are
         fixed they are a buffer, so that every parameter of the head gets a gradient.
Note:    the paper does not state where the predictor of its tables 7 and 14 is, nor its layers. Here it is BYOL's two
         layers, on what is compared with the prototypes, with the head's activation. Heads without bottleneck are plain
         linear layers, as many as the paper counts.

Shapes:  R rows (views or regions), D in_dim, H hidden_dim, P bottleneck_dim, K prototypes.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from search_space.parsing.errors import Problem, SpecError

__all__ = ["ProjectionHead", "PrototypeLayer"]


class PrototypeLayer(nn.Module):
    """Linear layer without bias whose rows have the lengths `weight_g` and the directions of `weight_v`.

    Args:
        fixed_lengths: All lengths stay 1: `weight_g` is a buffer; False: a parameter.
    """

    weight_g: torch.Tensor

    def __init__(self, in_dim: int, prototypes: int, *, fixed_lengths: bool) -> None:
        super().__init__()
        self.weight_v = nn.Parameter(torch.empty(prototypes, in_dim))
        lengths = torch.ones(prototypes, 1)
        if fixed_lengths:
            self.register_buffer("weight_g", lengths)
        else:
            self.weight_g = nn.Parameter(lengths)
        nn.init.kaiming_uniform_(self.weight_v, a=math.sqrt(5))  # as torch's linear layers

    def forward(self, x_RP: torch.Tensor) -> torch.Tensor:
        """Logits (R, K)."""
        return F.linear(x_RP, self.weight_v * (self.weight_g / self.weight_v.norm(dim=1, keepdim=True)))


class ProjectionHead(nn.Module):
    """Features (R, D) -> logits (R, K).

    Attributes:
        mlp: D -> H -> ... -> P with GELU; with one layer, a single linear layer D -> P.
        predictor: P -> H -> P before the normalisation, or None: only the student has one (`teacher.py`). As the MLP it
            has no normalisation but that of `batch_norm`.
        last_layer: Logits of L2-normalised features. Without bottleneck, the last of the MLP's linear layers, H -> K.
    """

    predictor: nn.Sequential | None

    def __init__(
        self,
        in_dim: int,
        prototypes: int,
        *,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        num_layers: int = 3,
        batch_norm: bool = False,
        norm_last_layer: bool = True,
        activation: Literal["gelu", "relu"] = "gelu",
        bottleneck: bool = True,
        predictor: bool = False,
    ) -> None:
        """Initialise as released: truncated normal of std 0.02, biases 0, prototypes of length 1.

        Args:
            num_layers: Linear layers of the MLP.
            batch_norm: Normalise hidden features over the rows of a batch.
            norm_last_layer: The prototypes keep the length 1.
            activation: After each hidden layer.
            bottleneck: P normalised features before the prototypes; False: `num_layers` linear layers give the logits.
            predictor: Two more layers before the normalisation; only with a bottleneck.

        Raises:
            SpecError: a number below 1.
        """
        super().__init__()
        counts = {
            "prototypes": prototypes,
            "hidden_dim": hidden_dim,
            "bottleneck_dim": bottleneck_dim,
            "num_layers": num_layers,
        }
        problems = [
            Problem(f"{name} is {value!r}", path="task", hint="legal: whole numbers of at least 1")
            for name, value in counts.items()
            if value < 1
        ]
        if problems:
            raise SpecError(problems)
        act = {"gelu": nn.GELU, "relu": nn.ReLU}[activation]

        def hidden(given: int, width: int) -> list[nn.Module]:
            return [nn.Linear(given, width), *([nn.BatchNorm1d(width)] if batch_norm else []), act()]

        widths = [in_dim, *[hidden_dim] * (num_layers - 1)]
        layers = [layer for given, width in itertools.pairwise(widths) for layer in hidden(given, width)]
        self.predictor = None
        self.has_bottleneck = bottleneck
        if not bottleneck:
            assert not predictor
            self.mlp = nn.Sequential(*layers)
            self.last_layer = nn.Linear(widths[-1], prototypes)
            self.apply(_init_linear)
            return
        layers.append(nn.Linear(widths[-1], bottleneck_dim))
        self.mlp = layers[0] if num_layers == 1 else nn.Sequential(*layers)
        self.mlp.apply(_init_linear)
        self.last_layer = PrototypeLayer(bottleneck_dim, prototypes, fixed_lengths=norm_last_layer)
        if predictor:  # the last to draw its weights: the others are those of a head without it
            self.predictor = nn.Sequential(*hidden(bottleneck_dim, hidden_dim), nn.Linear(hidden_dim, bottleneck_dim))
            self.predictor.apply(_init_linear)

    def forward(self, x_RD: torch.Tensor) -> torch.Tensor:
        x_RP = self.mlp(x_RD)
        if not self.has_bottleneck:
            return self.last_layer(x_RP)
        if self.predictor is not None:
            x_RP = self.predictor(x_RP)
        # At least float32: the smallest length of normalisation is 0 in float16.
        return self.last_layer(F.normalize(x_RP.to(torch.promote_types(x_RP.dtype, torch.float32)), dim=-1))


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
