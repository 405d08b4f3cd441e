"""Models whose attention can be replaced: which places they have, and how a mechanism gets into each.

One file per family, because each calls its attention in another way: with a mask and relative positions in windows,
with the size of the map in pyramids. To add a family: one file with a `AttentionSite`, one line in `attention_sites`.
"""

from __future__ import annotations

from timm.models.coat import CoaT
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from modelzoo.hosts.coat import coat_sites
from modelzoo.hosts.plain import PlainSite, plain_sites
from modelzoo.hosts.pvt_v2 import pvt_v2_sites
from modelzoo.hosts.site import LEGAL_HOSTS, AttentionSite
from modelzoo.hosts.swin import swin_sites

__all__ = ["LEGAL_HOSTS", "AttentionSite", "PlainSite", "attention_sites"]


def attention_sites(model: nn.Module) -> list[AttentionSite]:
    """The places of attention in the order in which tokens pass them; empty for a model of no known family."""
    # Exactly these pyramids: a subclass may call its attention in another way.
    if type(model) is SwinTransformer:
        return swin_sites(model)
    if type(model) is PyramidVisionTransformerV2:
        return pvt_v2_sites(model)
    if type(model) is CoaT:
        return coat_sites(model)
    return plain_sites(model) if isinstance(model, VisionTransformer) else []
