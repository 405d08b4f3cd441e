"""Models whose attention can be replaced: which places they have, and how a mechanism gets into each.

One file per family, because each calls its attention in another way: with a mask and relative positions in windows,
with the size of the map in pyramids. To add a family: one file with a `Seat`, one line in `seats_of`.
"""

from __future__ import annotations

from timm.models.coat import CoaT
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from modelzoo.hosts.coat import coat_seats
from modelzoo.hosts.plain import PlainSeat, plain_seats
from modelzoo.hosts.pvt_v2 import pvt_v2_seats
from modelzoo.hosts.slot import Seat
from modelzoo.hosts.swin import swin_seats

__all__ = ["LEGAL_HOSTS", "PlainSeat", "Seat", "seats_of"]

LEGAL_HOSTS = (
    "legal hosts: `vit` and timm's plain vision transformers (vit_*, deit_*, deit3_*) without such extras, "
    "swin_* and pvt_v2_* for every mechanism, coat_lite_* for groupmix; "
    "`softmax` keeps the attention that a model has"
)


def seats_of(model: nn.Module) -> list[Seat]:
    """The places of attention in the order in which tokens pass them; empty for a model of no known family."""
    # Exactly these pyramids: a subclass may call its attention in another way.
    if type(model) is SwinTransformer:
        return swin_seats(model)
    if type(model) is PyramidVisionTransformerV2:
        return pvt_v2_seats(model)
    if type(model) is CoaT:
        return coat_seats(model)
    return plain_seats(model) if isinstance(model, VisionTransformer) else []
