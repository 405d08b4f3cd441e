"""Recording of the attention maps of any model, without changing its forward pass.

During a forward pass, three operations are intercepted: softmax over the last axis, torch's fused attention (whose map
is computed in addition, because it does not return one), and modules that a map passes before it weights V: the
mechanisms' `MapTap` and timm's `attn_drop`. A map belongs to the attention module in whose forward it was recorded.

Shapes:  G maps (images, times windows), H heads, N queries, K keys, E head_dim.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from modelzoo.attention.contract import KeyTap, MapTap, TokenAttention
from modelzoo.probes.positions import Positions, positions_of

__all__ = ["AttentionMap", "attention_maps", "record_maps"]

_SOFTMAX = (torch.softmax, F.softmax, Tensor.softmax)
_FUSED = F.scaled_dot_product_attention
_OVER_CHANNELS = ("ChannelAttention", "CrossCovariance", "XCA")
"""Class names of attention between channels instead of tokens."""


@dataclass(frozen=True)
class AttentionMap:
    """Attention maps of one attention layer for one batch.

    Attributes:
        name: Module path of the attention.
        kind: Its class name.
        weights: Map (G, H, N, K) that weights V; None if there is no such map.
        softmax: Softmax (G, H, N, K) before mixing: the same tensor if the maps are not mixed, None for an attention
            without its own queries.
        key_weights: softmax(k) (G, H, N, E) over the tokens, for factorised attention, which forms no N x K map.
        num_windows: Windows per image; the maps of one image are adjacent.
        positions: Positions of queries and keys; None for an unknown host.
    """

    name: str
    kind: str
    weights: Tensor | None
    softmax: Tensor | None
    key_weights: Tensor | None = None
    num_windows: int = 1
    positions: Positions | None = None


@torch.no_grad()
def attention_maps(model: nn.Module, images: Tensor) -> list[AttentionMap]:
    """Attention maps of a model in evaluation mode, in forward order.

    The output is bit-equal to that without a probe; modes, hooks and buffers are restored.

    Raises:
        ValueError: no attention was recorded.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with record_maps(model) as maps:
            model(images)
    finally:
        for module, was_training in modes.items():
            module.training = was_training
    if not maps:
        raise ValueError(f"{type(model).__name__} formed no attention map, and no other attention was found")
    return maps


@contextmanager
def record_maps(model: nn.Module, *, replace_fused: bool = False) -> Iterator[list[AttentionMap]]:
    """Record attention maps inside of the `with` block into the returned list; tensors keep their gradient.

    Args:
        replace_fused: Compute fused attention from the recorded map instead of in addition, so that dropout and
            gradient of the map are those of the output (for losses on maps; the output may differ by rounding).
    """
    maps: list[AttentionMap] = []
    watch = _Watch(model, maps)
    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(watch.entering(name, module), with_kwargs=True))
        handles.append(module.register_forward_hook(watch.leaving(name, module), always_call=True))
    taps = [module for module in model.modules() if isinstance(module, MapTap)]
    for tap in taps:
        tap.watchers += 1
    # Compiled code would bypass the hooks.
    eager = torch.compiler.set_stance("force_eager")
    try:
        with eager, _Functions(watch, replace_fused=replace_fused):
            yield maps
    finally:
        for handle in handles:
            handle.remove()
        for tap in taps:
            tap.watchers -= 1


@dataclass
class _Frame:
    """Module in its forward pass, with the maps that are not yet recorded."""

    name: str
    module: nn.Module
    size: Any = None
    softmax: Tensor | None = None
    weights: Tensor | None = None
    factorised: bool = False
    is_site: bool = field(init=False)

    def __post_init__(self) -> None:
        kind = type(self.module).__name__
        self.is_site = "Att" in kind and "Block" not in kind


class _Watch:
    """Stack of modules in their forward pass; records their maps."""

    def __init__(self, root: nn.Module, maps: list[AttentionMap]) -> None:
        self._root = root
        self._maps = maps
        self._stack: list[_Frame] = []
        self._image: tuple[int, int] = (0, 0)
        self._num_images = 0

    def entering(self, name: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if module is self._root:
                self._stack.clear()
                image = next((one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)), None)
                if image is not None and image.ndim >= 2:
                    self._num_images, self._image = image.shape[0], (image.shape[-2], image.shape[-1])
            self._stack.append(_Frame(name, module, size=args[1] if len(args) > 1 else None))

        return hook

    def leaving(self, name: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            frame = self._stack.pop()
            assert frame.module is module
            if isinstance(module, MapTap):
                self._record(name.rpartition(".")[0], self._pending(), weights=output)
            elif isinstance(module, KeyTap):
                self._record(name.rpartition(".")[0], self._pending(), key_weights=output)
            elif name.rpartition(".")[2] == "attn_drop" and isinstance(output, Tensor):
                pending = self._pending()
                if pending.softmax is not None and pending.softmax.shape[-2:] == output.shape[-2:]:
                    pending.weights = output
            elif frame.softmax is not None:
                self._record(name, frame, weights=frame.softmax if frame.weights is None else frame.weights)
            elif frame.factorised:
                self._record(name, frame)

        return hook

    def saw_map(self, softmax: Tensor, weights: Tensor | None = None) -> None:
        frame = self._pending()
        frame.softmax, frame.weights = softmax, weights

    def saw_other_softmax(self) -> None:
        self._pending().factorised = True

    def _pending(self) -> _Frame:
        """Current module: the innermost attention, else the innermost module with children."""
        with_parts = [frame for frame in self._stack if next(frame.module.children(), None) is not None]
        sites = [frame for frame in with_parts if frame.is_site]
        return (sites or with_parts or self._stack)[-1]

    def _record(
        self, name: str, frame: _Frame, *, weights: Tensor | None = None, key_weights: Tensor | None = None
    ) -> None:
        site = self._root.get_submodule(name)
        # For a mechanism inside a host's adapter, the adapter has the window size.
        outer = frame.module if frame.is_site else site
        weights, frame.softmax = _windows_apart(site, weights), _windows_apart(site, frame.softmax)
        kind = type(site).__name__
        if kind.startswith(_OVER_CHANNELS):
            weights, frame.softmax = None, None
        seen = weights if weights is not None else frame.softmax
        positions, num_windows = None, 1
        if seen is not None and self._num_images:
            num_windows = max(1, seen.shape[0] // self._num_images)
            positions = positions_of(
                self._root,
                outer,
                size=frame.size,
                image=self._image,
                num_images=self._num_images,
                shape=seen.shape,
            )
        self._maps.append(
            AttentionMap(
                name.removesuffix(".mechanism"),
                kind,
                weights=weights,
                softmax=frame.softmax,
                key_weights=key_weights,
                num_windows=num_windows,
                positions=positions,
            )
        )
        frame.softmax, frame.weights, frame.factorised = None, None, False


class _Functions(TorchFunctionMode):
    """Interceptor of all calls of softmax and fused attention."""

    def __init__(self, watch: _Watch, *, replace_fused: bool) -> None:
        super().__init__()
        self._watch = watch
        self._replace_fused = replace_fused

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _FUSED:
            return self._fused(*args, **kwargs)
        output = func(*args, **kwargs)
        if func in _SOFTMAX and output.ndim >= 4:
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            if dim in (-1, output.ndim - 1):
                self._watch.saw_map(output)
            else:
                self._watch.saw_other_softmax()
        return output

    def _fused(self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        names = ("attn_mask", "dropout_p", "is_causal")
        options = {**dict(zip(names, args, strict=False)), **kwargs}
        if options.get("enable_gqa"):
            groups = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
        attn = _explicit_map(query, key, options)
        if not self._replace_fused:
            self._watch.saw_map(attn)
            return _FUSED(query, key, value, **{**options, "enable_gqa": False})
        dropped = F.dropout(attn, options.get("dropout_p", 0.0))
        self._watch.saw_map(attn, dropped)
        return dropped @ value


def _windows_apart(site: nn.Module, map_GHNK: Tensor | None) -> Tensor | None:
    """Split windows from heads, (B, W * H, N, K) -> (B * W, H, N, K): some attentions merge them to share a bias."""
    num_heads = None if isinstance(site, TokenAttention) else getattr(site, "num_heads", None)
    if map_GHNK is None or not isinstance(num_heads, int) or map_GHNK.shape[1] == num_heads:
        return map_GHNK
    apart = map_GHNK.shape[1] % num_heads == 0
    return map_GHNK.unflatten(1, (-1, num_heads)).flatten(0, 1) if apart else map_GHNK


def _explicit_map(query: Tensor, key: Tensor, options: dict[str, Any]) -> Tensor:
    scale = options.get("scale") or query.shape[-1] ** -0.5
    logits = (query * scale) @ key.transpose(-2, -1)
    mask = options.get("attn_mask")
    if options.get("is_causal"):
        mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
    return logits.softmax(dim=-1)
