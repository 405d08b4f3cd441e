"""Numerical precision of a trial (`train.amp`).

off        float32, in every operation
auto       bfloat16 on a GPU, float32 on a CPU
tf32       float32 whose products a GPU rounds to 10 bits; only on a GPU, an error elsewhere
bfloat16   autocast to bfloat16, on a CPU as well
float16    autocast to float16 with loss scaling; only on a GPU, an error elsewhere

Maps that a mechanism transforms are in float32 in any case, unless `train.map_precision` leaves them to autocast. What
float32 means is set by `numerics.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from timm.utils import NativeScaler, dispatch_clip_grad
from torch import Tensor, nn
from torch.optim import Optimizer

from search_space.parsing.errors import Problem, SpecError
from search_space.schema.trial import TrainSpec

__all__ = ["WITHOUT_GPU", "Precision", "reason_against_precision", "resolved"]

WITHOUT_GPU = "write auto, bfloat16 or off"
"""Precisions of every device."""


def resolved(amp: str, device: torch.device) -> str:
    """The precision of a trial on this device, as its record states it: `float32`, `tf32`, `bfloat16` or `float16`."""
    if amp == "auto":
        amp = "bfloat16" if device.type == "cuda" else "off"
    return "float32" if amp == "off" else amp


def reason_against_precision(amp: str, device: str) -> str:
    """Why trials on this kind of device have no such precision; empty where they have."""
    needs_gpu = amp in ("tf32", "float16") and device != "cuda"
    return f"{amp!r} needs a GPU, but the trial runs on {device!r}" if needs_gpu else ""


class Precision:
    """Autocast for forward passes, and the matching optimiser step."""

    def __init__(self, amp: str, device: torch.device) -> None:
        if reason := reason_against_precision(amp, device.type):
            raise SpecError(Problem(reason, path="train.amp", hint=WITHOUT_GPU))
        amp = resolved(amp, device)
        self._device = device
        self._dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(amp)
        self._scaler = NativeScaler(device=device.type) if amp == "float16" else None

    def autocast(self) -> AbstractContextManager:
        return nullcontext() if self._dtype is None else torch.autocast(self._device.type, dtype=self._dtype)

    def state_dict(self) -> dict[str, Any]:
        """State of the loss scaler; empty without loss scaling."""
        return {} if self._scaler is None else self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._scaler is not None:
            self._scaler.load_state_dict(state)

    def update(
        self,
        loss: Tensor,
        optimizer: Optimizer,
        model: nn.Module,
        train: TrainSpec,
        *,
        begins: bool = True,
        ends: bool = True,
    ) -> None:
        """One optimiser step with the gradient of `loss`, clipped as `train.clip_grad` and `train.clip_mode` say.

        Args:
            begins: the gradient is that of this loss; else it is added to what is there.
            ends: the step is done; else the gradient stays for the next loss.
        """
        if begins:
            optimizer.zero_grad(set_to_none=True)
        most = train.clip_grad
        if most is None or train.clip_mode != "parameter" or not ends:
            self._update(loss, optimizer, model, clip_grad=most, clip_mode=train.clip_mode, ends=ends)
            return
        # timm has no such mode. In a hook, because only then is the gradient without the scale of its loss.
        clip = optimizer.register_step_pre_hook(lambda *_: _clip_each(model.parameters(), most))
        self._update(loss, optimizer, model, clip_grad=None, clip_mode="norm", ends=True)
        clip.remove()

    def _update(
        self,
        loss: Tensor,
        optimizer: Optimizer,
        model: nn.Module,
        *,
        clip_grad: float | None,
        clip_mode: str,
        ends: bool,
    ) -> None:
        # timm marks optimisers that differentiate the gradient (adahessian).
        is_second_order = getattr(optimizer, "is_second_order", False)
        if self._scaler is not None:
            self._scaler(
                loss,
                optimizer,
                clip_grad=clip_grad,
                clip_mode=clip_mode,
                parameters=model.parameters(),
                create_graph=is_second_order,
                need_update=ends,
            )
            return
        loss.backward(create_graph=is_second_order)
        if not ends:
            return
        if clip_grad is not None:
            dispatch_clip_grad(model.parameters(), clip_grad, mode=clip_mode)
        optimizer.step()


@torch.no_grad()
def _clip_each(weights: Iterable[nn.Parameter], most: float) -> None:
    """Scale every gradient whose norm is above `most` to it, each by itself, as DINO's code does; nothing is read back
    from the device."""
    for weight in weights:
        if weight.grad is not None:
            weight.grad.mul_((most / (weight.grad.norm() + 1e-6)).clamp(max=1.0))
