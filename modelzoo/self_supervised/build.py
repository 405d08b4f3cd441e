"""Self-supervised network from an architecture: backbone, head, and with regions a second head.

Each part draws its weights from a stream of its own: a backbone has the same weights under every head, and a head the
same on every backbone of equal width, so that variants share whatever they have in common bit for bit.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from modelzoo.factory.part_streams import own_random_numbers
from modelzoo.self_supervised.backbone import build_feature_backbone
from modelzoo.self_supervised.head import ProjectionHead
from modelzoo.self_supervised.network import SelfSupervisedNetwork
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.trial import ArchSpec

__all__ = ["build_self_supervised"]


def build_self_supervised(
    arch: ArchSpec,
    *,
    img_size: int | tuple[int, int],
    local_size: int | tuple[int, int] | None = None,
    in_chans: int,
    prototypes: int,
    hidden_dim: int = 2048,
    bottleneck_dim: int = 256,
    num_layers: int = 3,
    batch_norm: bool = False,
    norm_last_layer: bool = True,
    activation: Literal["gelu", "relu"] = "gelu",
    bottleneck: bool = True,
    predictor: bool = False,
    regions: bool = False,
    seed: int | None = None,
) -> SelfSupervisedNetwork:
    """Build a network in training mode, freshly initialised on the current default device.

    Args:
        img_size: Size of the global views, for which the backbone is built.
        local_size: Size of the local views; None: there are none of another size.
        prototypes: Outputs of each head.
        hidden_dim, bottleneck_dim, num_layers, batch_norm, norm_last_layer, activation, bottleneck, predictor: As in
            `ProjectionHead`, of both heads.
        regions: Whether there is a region head, for the region loss.
        seed: As in `build_feature_backbone`, whose weights the backbone has; each head draws from a stream of its own.

    Raises:
        SpecError: architecture, sizes and options do not fit; paths are below `arch` and `task`.
    """
    backbone = build_feature_backbone(arch, img_size=img_size, local_size=local_size, in_chans=in_chans, seed=seed)
    if regions and backbone.region_dim is None:
        raise SpecError(
            Problem(
                f"{arch.model!r} gives no features of regions, which the region loss compares",
                path="arch.model",
                hint="use another model, for example vit, swin_* or one of the zoo's, or leave out the region loss",
            )
        )
    seed = torch.initial_seed() if seed is None else seed
    options: dict[str, Any] = {
        "hidden_dim": hidden_dim,
        "bottleneck_dim": bottleneck_dim,
        "num_layers": num_layers,
        "batch_norm": batch_norm,
        "norm_last_layer": norm_last_layer,
        "activation": activation,
        "bottleneck": bottleneck,
        "predictor": predictor,
    }
    with own_random_numbers(seed, "head"):
        head = ProjectionHead(backbone.dim, prototypes, **options)
    region_head = None
    if regions and backbone.region_dim is not None:
        with own_random_numbers(seed, "region_head"):
            region_head = ProjectionHead(backbone.region_dim, prototypes, **options)
    return SelfSupervisedNetwork(backbone, head, region_head)
