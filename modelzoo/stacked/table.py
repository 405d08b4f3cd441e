"""Which layers can be stacked: the type of a single layer -> its stacked form. Exactly these types, no subclass.

A new layer of a `vit` is one more line here; what is not here keeps its model single, with its name as the reason.
"""

from __future__ import annotations

from collections.abc import Mapping

from timm.layers import activations
from timm.layers.attention import Attention
from timm.layers.attention_pool import AttentionPoolLatent
from timm.layers.drop import DropPath
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import Mlp
from timm.layers.norm import LayerNorm
from timm.layers.patch_dropout import PatchDropout
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from modelzoo.attention.contract import KeyTap, MapTap
from modelzoo.attention.distributed_local_attention import DistributedLocalAttention
from modelzoo.attention.groupmix import GroupMixAttention
from modelzoo.attention.groupmix_aggregators import (
    Aggregator,
    ConvolutionalPosition,
    LocalBranch,
    SeparableConvolution,
)
from modelzoo.attention.reattention import HeadLayerNorm, Reattention
from modelzoo.attention.recomputed_batchnorm import BatchNorm2dOfOnePass
from modelzoo.attention.refiner import MapSharingAttention, RefinedAttention
from modelzoo.attention.same_padding import SameAvgPool2d, SameConv2d, SameMaxPool2d
from modelzoo.attention.softmax import SoftmaxAttention
from modelzoo.hosts.hosted_attention import HostedGroupMixAttention, HostedMapAttention
from modelzoo.hosts.map_carrying import MapCarryingBlock
from modelzoo.stacked.blocks import StackedBlock, StackedMapCarryingBlock, StackedMlp, StackedSequence
from modelzoo.stacked.dropout import StackedDropout, StackedDropPath, StackedPatchDropout
from modelzoo.stacked.layer import SameForAll, StackedLayer
from modelzoo.stacked.linear import StackedLayerNorm, StackedLayerScale, StackedLinear, StackedPatchEmbed
from modelzoo.stacked.maps import StackedBatchNorm2d, StackedConv2d, StackedHeadLayerNorm
from modelzoo.stacked.mechanisms.attention import StackedAttention, StackedSoftmaxAttention
from modelzoo.stacked.mechanisms.groupmix import (
    StackedAggregator,
    StackedConvolutionalPosition,
    StackedGroupMixAttention,
    StackedLocalBranch,
    StackedSeparableConvolution,
)
from modelzoo.stacked.mechanisms.hosted import StackedHostedGroupMixAttention, StackedHostedMapAttention
from modelzoo.stacked.mechanisms.map_mechanisms import (
    StackedDistributedLocalAttention,
    StackedMapSharingAttention,
    StackedReattention,
    StackedRefinedAttention,
)
from modelzoo.stacked.vision_transformer import StackedAttentionPool, StackedVisionTransformer

__all__ = ["LAYERS"]

_WITHOUT_WEIGHTS = (
    *(nn.Identity, MapTap, KeyTap, SameAvgPool2d, SameMaxPool2d),
    *(nn.CELU, nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.LeakyReLU, nn.Mish, nn.ReLU, nn.ReLU6, nn.SELU),
    *(nn.Sigmoid, nn.SiLU, nn.Tanh),
    *(activations.GELU, activations.GELUTanh, activations.QuickGELU, activations.Sigmoid, activations.Tanh),
)

LAYERS: Mapping[type[nn.Module], type[StackedLayer]] = {
    Aggregator: StackedAggregator,
    Attention: StackedAttention,
    AttentionPoolLatent: StackedAttentionPool,
    BatchNorm2dOfOnePass: StackedBatchNorm2d,
    Block: StackedBlock,
    ConvolutionalPosition: StackedConvolutionalPosition,
    DistributedLocalAttention: StackedDistributedLocalAttention,
    DropPath: StackedDropPath,
    GroupMixAttention: StackedGroupMixAttention,
    HeadLayerNorm: StackedHeadLayerNorm,
    HostedGroupMixAttention: StackedHostedGroupMixAttention,
    HostedMapAttention: StackedHostedMapAttention,
    LayerNorm: StackedLayerNorm,
    LayerScale: StackedLayerScale,
    LocalBranch: StackedLocalBranch,
    MapCarryingBlock: StackedMapCarryingBlock,
    MapSharingAttention: StackedMapSharingAttention,
    Mlp: StackedMlp,
    PatchDropout: StackedPatchDropout,
    PatchEmbed: StackedPatchEmbed,
    Reattention: StackedReattention,
    RefinedAttention: StackedRefinedAttention,
    SameConv2d: StackedConv2d,
    SeparableConvolution: StackedSeparableConvolution,
    SoftmaxAttention: StackedSoftmaxAttention,
    VisionTransformer: StackedVisionTransformer,
    nn.BatchNorm2d: StackedBatchNorm2d,
    nn.Conv2d: StackedConv2d,
    nn.Dropout: StackedDropout,
    nn.LayerNorm: StackedLayerNorm,
    nn.Linear: StackedLinear,
    nn.ModuleList: StackedSequence,
    nn.Sequential: StackedSequence,
    **dict.fromkeys(_WITHOUT_WEIGHTS, SameForAll),
}
