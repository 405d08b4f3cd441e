"""Host models: families of models whose attention can be replaced.

One file per family, because each calls its attention differently: with a mask and relative positions in windows, with
the size of the feature map in pyramids, with the positions of all tokens elsewhere. To add a family: one file with an
`AttentionSite`, one line in `attention_sites`, one row in the contract test of the hosts.
"""

from __future__ import annotations

from timm.models.beit import Beit
from timm.models.coat import CoaT
from timm.models.eva import Eva
from timm.models.naflexvit import NaFlexVit
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import nn

from modelzoo.hosts.coat import coat_sites
from modelzoo.hosts.plain import PlainSite
from modelzoo.hosts.pvt_v2 import pvt_v2_sites
from modelzoo.hosts.site import AttentionSite
from modelzoo.hosts.swin import swin_sites
from modelzoo.hosts.swin_v2 import swin_v2_sites
from modelzoo.hosts.tokens import token_sites

__all__ = ["AttentionSite", "PlainSite", "attention_sites"]


def attention_sites(model: nn.Module) -> list[AttentionSite]:
    """Attention sites of a model in forward order; empty for a model of an unknown family."""
    # Exactly these classes: a subclass may call its attention differently.
    if type(model) is SwinTransformer:
        return swin_sites(model)
    if type(model) is SwinTransformerV2:
        return swin_v2_sites(model)
    if type(model) is PyramidVisionTransformerV2:
        return pvt_v2_sites(model)
    if type(model) is CoaT:
        return coat_sites(model)
    attends_over_all = isinstance(model, VisionTransformer)
    attends_over_all = attends_over_all or type(model) in (Beit, Eva, NaFlexVit, VisionTransformerRelPos)
    return token_sites(model) if attends_over_all else []
