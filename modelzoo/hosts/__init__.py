"""Host models: families of models whose attention can be replaced.

One file per family, because each calls its attention differently: with a mask and relative positions in windows, with
the size of the feature map in pyramids. To add a family: one file with an `AttentionSite`, one line in
`attention_sites`.
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
from modelzoo.hosts.site import AttentionSite
from modelzoo.hosts.swin import swin_sites

__all__ = ["AttentionSite", "PlainSite", "attention_sites"]


def attention_sites(model: nn.Module) -> list[AttentionSite]:
    """Attention sites of a model in forward order; empty for a model of an unknown family."""
    # Exactly these classes: a subclass may call its attention differently.
    if type(model) is SwinTransformer:
        return swin_sites(model)
    if type(model) is PyramidVisionTransformerV2:
        return pvt_v2_sites(model)
    if type(model) is CoaT:
        return coat_sites(model)
    return plain_sites(model) if isinstance(model, VisionTransformer) else []
