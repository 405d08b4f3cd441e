"""Under autocast, gradients of mechanisms that transform maps are those of float32.

The oracle is the same computation in float32. Autocast of a GPU is emulated: the operations that it runs in half
precision and in float32 are those of PyTorch's documentation of CUDA ("CUDA Ops that can autocast to float16"), which
are not those of a CPU. Autocast of the CPU is tested as it is.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from timm.models import create_feature_extractor, get_graph_node_names
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from modelzoo import ATTENTION, Slot, TokenAttention, build_model
from modelzoo.attention.map_precision import float32_products, set_map_precision
from modelzoo.attention.refiner import MapSharingAttention
from modelzoo.official.checkpoints import zoo_models
from modelzoo.text import build_text_encoder
from search_space.schema.trial import ArchSpec

GRID = (7, 7)
SLOT = Slot(dim=80, num_heads=4, grid_size=GRID)
MECHANISMS = {
    "softmax": ("softmax", {}),
    "re-attention": ("reattention", {}),
    "re-attention, scaled": ("reattention", {"transform_scale": True}),
    "re-attention, layer": ("reattention", {"norm": "layer"}),
    "re-attention, none": ("reattention", {"norm": "none"}),
    "refiner": ("refiner", {}),
    "refiner, all maps": ("refiner", {"reduction": False, "expansion": 2}),
    "refiner, no identity": ("refiner", {"identity": False, "kernel_size": 5}),
    "group-mix": ("groupmix", {}),
    "group-mix, maximum": ("groupmix", {"aggregator": "maxpool"}),
    "group-mix, average": ("groupmix", {"aggregator": "avgpool"}),
}
TINY = {"depth": 1, "embed_dim": 80, "num_heads": 4, "img_size": 112, "patch_size": 16}
HOSTS = {
    "vit": {"model": "vit", **TINY},
    "rotary": {"model": "eva02_tiny_patch14_224", "img_size": 98, "depth": 1},
    "relative positions": {"model": "beit_base_patch16_224", **TINY},
    "network of relative positions": {"model": "vit_relpos_small_patch16_224", **TINY},
    "norm of q and k": {"model": "vit", **TINY, "options": {"qk_norm": True}},
    "parallel scaling": {"model": "vit_base_patch16_xp_224", **TINY, "patch_size": 14, "img_size": 98},
    "swin": {"model": "swin_tiny_patch4_window7_224", "img_size": 56, "options": {"depths": [2]}},
    "swinv2": {"model": "swinv2_tiny_window8_256", "img_size": 64, "embed_dim": 24, "options": {"depths": [1]}},
    "pvt_v2": {"model": "pvt_v2_b0", "img_size": 64},
}
HALVES = {"GPU": (torch.bfloat16, True), "GPU, float16": (torch.float16, True), "CPU": (torch.bfloat16, False)}
everywhere = pytest.mark.parametrize("half", HALVES)


class CastsOfCuda(TorchFunctionMode):
    """Inside `torch.autocast("cpu")`: the casts of CUDA's autocast instead of the CPU's."""

    LOWER = frozenset({
        *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "conv_tbc"),
        *("linear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "addmm", "addmv", "addr", "addbmm"),
        *("baddbmm", "einsum", "chain_matmul", "multi_dot", "prelu", "scaled_dot_product_attention"),
    })  # fmt: skip
    SINGLE = frozenset({
        *("softmax", "log_softmax", "softmin", "layer_norm", "group_norm", "norm", "cumsum", "cumprod", "sum", "prod"),
        *("exp", "expm1", "log", "log10", "log2", "log1p", "pow", "__pow__", "__rpow__", "reciprocal", "rsqrt"),
        *("cosh", "sinh", "tan", "acos", "asin", "erfinv", "softplus", "logsumexp", "cosine_similarity", "normalize"),
        *("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "cdist"),
        *("binary_cross_entropy_with_logits", "interpolate"),
    })  # fmt: skip
    WIDEST = frozenset({"cat", "stack", "addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "grid_sample"})

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if not torch.is_autocast_enabled("cpu") or "autocast" in name:
            return func(*args, **kwargs)
        if name in self.LOWER:
            args, kwargs = _cast((args, kwargs), lambda x: x.to(self._dtype) if x.dtype == torch.float32 else x)
        elif name in self.SINGLE:
            args, kwargs = _cast((args, kwargs), lambda x: x if x.dtype == torch.float64 else x.float())
        elif name in self.WIDEST:
            dtypes: list[torch.dtype] = []
            _cast(args, lambda x: dtypes.append(x.dtype) or x)
            wide = torch.float32 if torch.float32 in dtypes else self._dtype
            args = _cast(args, lambda x: x.to(wide))
        with torch.autocast("cpu", enabled=False):
            return func(*args, **kwargs)


def _cast(content: Any, cast: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(content, Tensor):
        return cast(content) if content.is_floating_point() else content
    if isinstance(content, dict):
        return {key: _cast(each, cast) for key, each in content.items()}
    return type(content)(_cast(each, cast) for each in content) if type(content) in (tuple, list) else content


@contextlib.contextmanager
def in_half(half: str) -> Iterator[None]:
    dtype, is_emulated = HALVES[half]
    with torch.autocast("cpu", dtype=dtype), CastsOfCuda(dtype) if is_emulated else contextlib.nullcontext():
        yield


def gradient(module: nn.Module, *inputs: Any, half: str | None = None, precision: Any = "float32") -> Tensor:
    """Of a weighted sum of the outputs, with respect to all weights, after one step in training mode."""
    module = copy.deepcopy(module).train()
    set_map_precision(module, precision)
    torch.manual_seed(0)
    with contextlib.nullcontext() if half is None else in_half(half):
        output = module(*inputs)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(3))
    (output.float() * weights).sum().backward()
    return torch.cat([weight.grad.flatten() for weight in module.parameters() if weight.grad is not None])


def agreement(module: nn.Module, *inputs: Any, half: str, precision: Any = "float32") -> float:
    """Cosine of the gradient in half precision to that in float32."""
    exact, rounded = gradient(module, *inputs), gradient(module, *inputs, half=half, precision=precision)
    return F.cosine_similarity(exact.double(), rounded.double(), dim=0).item()


def mechanism(name: str, options: dict[str, Any], slot: Slot = SLOT) -> TokenAttention:
    """As in a model at its beginning: projections with timm's initial weights."""
    torch.manual_seed(0)
    found = ATTENTION[name](slot, **options)
    nn.init.trunc_normal_(found.qkv.weight, std=0.02)
    return found


def tokens(num: int = 49, dim: int = 80) -> Tensor:
    return F.layer_norm(torch.randn(8, num, dim, generator=torch.Generator().manual_seed(1)), (dim,))


def images(side: int, num: int = 4) -> Tensor:
    return torch.randn(num, 3, side, side, generator=torch.Generator().manual_seed(1))


class Attending(nn.Module):
    """The attentions of a model by themselves, each on what it is given in float32."""

    def __init__(self, model: nn.Module, *inputs: Tensor) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any]] = []
        kinds = [each for each in model.modules() if isinstance(each, TokenAttention) or hasattr(each, "mechanism")]
        inside = {part for each in kinds for part in each.modules() if part is not each}
        self.attentions = nn.ModuleList(each for each in kinds if each not in inside)
        for each in self.attentions:
            each.register_forward_pre_hook(self._remember, with_kwargs=True)
        with torch.no_grad():
            model.train()(*inputs)
        for each in self.attentions:
            each._forward_pre_hooks.clear()
            each._forward_pre_hooks_with_kwargs.clear()

    def _remember(self, _: nn.Module, args: Any, kwargs: Any) -> None:
        self.calls.append((args, kwargs))

    def forward(self) -> Tensor:
        assert len(self.calls) == len(self.attentions) > 0
        pairs = zip(self.attentions, self.calls, strict=True)
        return torch.cat([each(*args, **kwargs).float().flatten() for each, (args, kwargs) in pairs])


@everywhere
@pytest.mark.parametrize("name", MECHANISMS)
def test_gradients_of_every_mechanism_are_those_of_float32(name, half):
    assert agreement(mechanism(*MECHANISMS[name]), tokens(), half=half) >= 0.999


@pytest.mark.parametrize(("name", "most"), [("re-attention", 0.99), ("refiner", 0.98)])
def test_maps_left_to_autocast_lose_their_gradients(name, most):
    """What the setting is for; else the tests above would pass without it."""
    assert agreement(mechanism(*MECHANISMS[name]), tokens(), half="GPU", precision="as_amp") < most


@everywhere
def test_a_map_is_shared_in_float32(half):
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = mechanism("refiner", {"apply_transform": False})
            self.second = MapSharingAttention(SLOT)

        def forward(self, x: Tensor) -> Tensor:
            out, attn = self.first.attend(x)
            return out + self.second.attend(x, attn)[0]

    torch.manual_seed(0)
    assert agreement(Pair(), tokens(), half=half) >= 0.999


@everywhere
@pytest.mark.parametrize("name", ["reattention", "refiner"])
@pytest.mark.parametrize("host", HOSTS)
def test_gradients_in_every_host_are_those_of_float32(host, name, half):
    spec = ArchSpec.model_validate({**HOSTS[host], "attention": name})
    model = build_model(spec, img_size=None, in_chans=3, num_classes=5, seed=0)
    attending = Attending(model, images(HOSTS[host]["img_size"]))
    assert agreement(attending, half=half) >= 0.999


@everywhere
@pytest.mark.parametrize("name", ["reattention", "refiner"])
def test_gradients_in_bert_are_those_of_float32(name, half):
    sizes = {"depth": 1, "embed_dim": 64, "num_heads": 4, "mlp_ratio": 2.0}
    spec = ArchSpec.model_validate({"model": "bert", "attention": name, **sizes})
    model = build_text_encoder(spec, head_dropout=0.0, vocabulary=30, max_length=24, num_outputs=3, seed=0)
    ids = torch.randint(1, 30, (6, 3, 24), generator=torch.Generator().manual_seed(1))
    ids[:, 1], ids[:, 2] = 0, 1
    ids[:3, :, 15:] = 0  # padding
    assert agreement(Attending(model, ids), half=half) >= 0.999


@pytest.mark.parametrize("host", HOSTS)
def test_a_graph_of_timm_keeps_the_precision(host):
    spec = ArchSpec.model_validate({**HOSTS[host], "attention": "reattention"})
    model = build_model(spec, img_size=None, in_chans=3, num_classes=5, seed=0).eval()
    output = get_graph_node_names(model)[1][-1]
    graph = create_feature_extractor(model, {output: "out"})
    seen: list[torch.dtype] = []
    for module in graph.modules():
        if isinstance(module, TokenAttention) and isinstance(getattr(module, "reatten_matrix", None), nn.Module):
            module.reatten_matrix.register_forward_hook(lambda _, given, out: seen.append(out.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        graph(images(HOSTS[host]["img_size"], num=1))
    assert set(seen) == {torch.float32}


def test_a_float32_product_of_maps_is_exact_where_others_are_rounded():
    model, seen = mechanism("reattention", {}), []
    cudnn: Any = torch.backends.cudnn

    def convolutions() -> str:
        if hasattr(cudnn, "conv"):
            return cudnn.conv.fp32_precision
        return "tf32" if cudnn.allow_tf32 else "ieee"  # torch 2.8

    model.reatten_matrix.register_forward_hook(lambda *_: seen.append(convolutions()))
    with float32_products("tf32"):
        model(tokens())
        set_map_precision(model, "as_amp")
        model(tokens())
        seen.append(convolutions())
    assert seen == ["ieee", "tf32", "tf32"]


def test_without_autocast_bits_are_those_of_the_maps_as_they_are():
    for name, options in MECHANISMS.values():
        model = mechanism(name, options)
        assert torch.equal(gradient(model, tokens()), gradient(model, tokens(), precision="as_amp"))


@pytest.mark.slow
def test_a_compiled_mechanism_is_one_graph_and_equal():
    for name in ("reattention", "refiner"):
        model = mechanism(name, {})
        whole = torch.compile(model, fullgraph=True, backend="aot_eager")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(whole(tokens()), model(tokens()))


SMALLEST = {
    *("deepvit_12b_patch16_224", "deepvit_small_patch16_224", "focal_tiny_patch4_window7_224"),
    *("focal_tiny_conv_patch4_window7_224", "focalv2_tiny_conv_patch4_window7_224", "groupmixformer_mobile_224"),
    *("lg_transformer_tiny_224", "regionvit_tiny_224", "regionvit_small_w14_peg_224"),
}


def test_the_smallest_of_every_family_are_here():
    families = {name.split("_")[0] for name in zoo_models()}
    assert families == {name.split("_")[0] for name in SMALLEST} | {"refined"}, "refined_vit has its own test below"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SMALLEST))
def test_gradients_of_whole_models_are_those_of_float32(name):
    model = build_model(ArchSpec(model=name), img_size=224, in_chans=3, num_classes=10, seed=0)
    exact = gradient(model, images(224, num=2))
    for half in ("GPU", "CPU"):
        rounded = gradient(model, images(224, num=2), half=half)
        assert F.cosine_similarity(exact.double(), rounded.double(), dim=0) >= 0.99, half


@pytest.mark.slow
def test_refined_vit_is_closer_to_float32_although_it_amplifies_every_rounding():
    """Its kinks follow norms of nearly flat maps, sixteen times in a row: already an image that is rounded to bfloat16
    changes the gradient of float32 by more than whole models may differ."""
    model = build_model(
        ArchSpec(model="refined_vit_small_patch16_224"), img_size=224, in_chans=3, num_classes=10, seed=0
    )
    exact, rounded = gradient(model, images(224)), gradient(model, images(224).bfloat16().float())
    assert F.cosine_similarity(exact, rounded, dim=0) < 0.99
    left = agreement(model, images(224), half="GPU", precision="as_amp")
    assert agreement(model, images(224), half="GPU") > left + 0.05
