"""Precision of attention maps under autocast: single precision, where a mechanism transforms them.

A softmax map early in training is nearly flat: its entries differ by a few percent of their mean. A BatchNorm behind a
convolution of such maps takes the mean away and stretches the rest to a variance of 1, and with it the rounding of the
convolution, which in bfloat16 has 8 significant bits. So the maps are computed in float32 from q k^T up to the
product with V, whatever autocast asks for. A mechanism with kinks behind its norms also needs q and k in float32:
their rounding decides on which side of a kink an entry falls, and with it about a whole gradient.

`as_amp` leaves the maps to autocast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

__all__ = ["Arithmetic", "MapPrecision", "float32_products", "map_arithmetic", "set_map_precision"]

MapPrecision = Literal["float32", "as_amp"]

Arithmetic = AbstractContextManager[Callable[[Tensor], Tensor]]
"""Context of a computation; it yields what tensors from outside go through."""


@contextmanager
def map_arithmetic(precision: MapPrecision, like: Tensor) -> Iterator[Callable[[Tensor], Tensor]]:
    """Context in which maps are computed. It yields what every tensor from outside goes through; without autocast
    nothing is changed.

        with map_arithmetic("float32", q) as wide:
            attn = transform(softmax_map(wide(q), wide(k), scale))

    A symbolic trace (`torch.fx`) records arithmetic only, so its graph has no such context. timm's tracer records calls
    of whole mechanisms, and keeps it.

    Args:
        like: a tensor on the device of the maps.
    """
    if isinstance(like, torch.fx.Proxy):
        yield _as_it_is
        return
    kind = like.device.type
    if precision == "float32" and kind != "meta" and torch.is_autocast_enabled(kind):  # meta has no autocast to ask
        with torch.autocast(kind, enabled=False):
            yield _in_single_precision
    elif precision == "float32" and _are_products_rounded:
        with float32_products("ieee"):
            yield _as_it_is
    else:
        yield _as_it_is


@contextmanager
def float32_products(precision: Literal["ieee", "tf32"]) -> Iterator[None]:
    """Factors of float32 products on a GPU: `ieee`, as they are, or `tf32`, rounded to 10 bits."""
    global _are_products_rounded
    before, were_rounded = [getattr(owner, _SWITCH) for owner in _SWITCHES], _are_products_rounded
    _are_products_rounded = precision == "tf32"
    for owner in _SWITCHES:
        setattr(owner, _SWITCH, _VALUES[precision])
    try:
        yield
    finally:
        _are_products_rounded = were_rounded
        for owner, was in zip(_SWITCHES, before, strict=True):
            setattr(owner, _SWITCH, was)


def set_map_precision(model: nn.Module, precision: MapPrecision) -> None:
    """Choose the precision of the maps of every mechanism in `model`."""
    for module in model.modules():
        if hasattr(module, "map_precision"):
            vars(module)["map_precision"] = precision


_are_products_rounded = False
"""As `float32_products` has set it; torch.compile cannot read the switches themselves."""
_CUDNN: Any = torch.backends.cudnn
_SWITCHES: tuple[Any, ...] = (torch.backends.cuda.matmul, _CUDNN)
_SWITCH, _VALUES = "allow_tf32", {"ieee": False, "tf32": True}
if hasattr(_CUDNN, "conv"):  # torch 2.9 has a switch for each operation, and refuses a mixture
    _SWITCHES = (torch.backends.cuda.matmul, _CUDNN.conv, _CUDNN.rnn)
    _SWITCH, _VALUES = "fp32_precision", {"ieee": "ieee", "tf32": "tf32"}


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _in_single_precision(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
