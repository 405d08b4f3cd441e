"""`check_attention` finds each fault that the contract of mechanisms names; each class below has one."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from archsweep.testing import Slot, TokenAttention, check_attention


class Sound(TokenAttention):
    """Softmax attention with a factor."""

    def __init__(self, slot: Slot, *, factor: float = 1.0) -> None:
        super().__init__(slot)
        self.factor = factor

    def attend(self, x, incoming=None):
        return self.out(self.map(x), x)

    def map(self, x):
        q, k, _ = self.heads_of(self.qkv(x))
        return (self.factor * (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5).softmax(dim=-1)

    def out(self, attn, x):
        return self.merge(self.weigh(self.attn_drop(attn), self.heads_of(self.qkv(x))[2])), attn


class Flat(Sound):
    def attend(self, x, incoming=None):
        y, attn = super().attend(x)
        return y.flatten(1), attn


class Leaks(Sound):
    def attend(self, x, incoming=None):
        return super().attend(x + x.mean(dim=0, keepdim=True))


class Windows(Sound):
    def map(self, x):
        near = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(-1).tril(1)
        q, k, _ = self.heads_of(self.qkv(x))
        return (self.factor * q @ k.transpose(-2, -1)).masked_fill(~near, float("-inf")).softmax(dim=-1)


class Unused(Sound):
    def __init__(self, slot: Slot, *, factor: float = 1.0) -> None:
        super().__init__(slot, factor=factor)
        self.extra = nn.Linear(slot.dim, 1, **slot.factory)


class OnlySingle(Sound):
    def attend(self, x, incoming=None):
        y, attn = super().attend(x)
        return (1.01 * y if y.dtype == torch.float64 else y), attn


class Overflows(Sound):
    def map(self, x):
        return super().map(x) + (torch.full((), float("nan")) if torch.is_autocast_enabled("cpu") else 0.0)


class HiddenState(Sound):
    def __init__(self, slot: Slot, *, factor: float = 1.0) -> None:
        super().__init__(slot, factor=factor)
        self.own = torch.rand(1)

    def map(self, x):
        return super().map(x) * (self.own.to(x.dtype) if not x.is_meta else 1)


class HasLock(Sound):
    def __init__(self, slot: Slot, *, factor: float = 1.0) -> None:
        super().__init__(slot, factor=factor)
        self.lock = threading.Lock()


class DrawsNoise(Sound):
    def map(self, x):
        return super().map(x) + 1e-3 * torch.rand_like(x[0, 0, 0])


class DrawsForNothing(Sound):
    def map(self, x):
        torch.rand(1)
        return super().map(x)


class NoDropout(Sound):
    def out(self, attn, x):
        return self.merge(self.weigh(attn, self.heads_of(self.qkv(x))[2])), attn


class AlwaysBias(Sound):
    def __init__(self, slot: Slot, *, factor: float = 1.0) -> None:
        super().__init__(slot, factor=factor)
        self.proj = nn.Linear(slot.dim, slot.dim, **slot.factory)


class AlwaysSingle(Sound):
    def __init__(self, slot: Slot, *, factor: float = 1.0) -> None:
        super().__init__(slot, factor=factor)
        self.proj = nn.Linear(slot.dim, slot.dim, bias=slot.proj_bias)


class Peeks(Sound):
    def attend(self, x, incoming=None):
        return super().attend(x if x.sum().item() else -x)


class OwnForward(Sound):
    def forward(self, x, attn_mask=None, is_causal=False):
        return super().attend(x)[0]


class OtherForward(Sound):
    def forward(self, x, attn_mask=None, is_causal=False):
        return 2 * super().forward(x, attn_mask, is_causal)


class NoTap(Sound):
    def out(self, attn, x):
        return self.merge(self.attn_drop(attn) @ self.heads_of(self.qkv(x))[2]), attn


class Ignores(Sound):
    def __init__(self, slot: Slot, *, factor: float = 1.0, power: int = 2) -> None:
        super().__init__(slot, factor=factor)


class Positional(Sound):
    def __init__(self, slot: Slot, factor: float = 1.0) -> None:
        super().__init__(slot, factor=factor)


class Required(Sound):
    def __init__(self, slot: Slot, *, factor: float) -> None:
        super().__init__(slot, factor=factor)


class NoAnnotation(Sound):
    def __init__(self, slot: Slot, *, factor=1.0) -> None:
        super().__init__(slot, factor=factor)


class Shared(nn.Module):
    pass


FACTOR = [{"factor": 2.0}]


def test_a_sound_mechanism_passes():
    check_attention(Sound, options=FACTOR)


def test_windows_pass_where_they_are_meant():
    check_attention(Windows, options=FACTOR, is_global=False)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (Flat, "Flat(): tokens (3, 6, 40) became (3, 240) on a grid of 2x3 with 0 prefix tokens"),
        (Leaks, "Leaks(): one image sees another: a change of image 1 moved the output of image 0 by "),
        (Windows, "Windows(): tokens [2, 3, 4, 5, 6] do not depend on token 0; is_global=False if that is meant"),
        (Unused, "Unused(): no gradient reaches extra.weight, extra.bias in evaluation"),
        (OnlySingle, "OnlySingle(): single and double precision differ by up to "),
        (Overflows, "Overflows(): the output has NaN or infinite values under autocast to bfloat16"),
        (HiddenState, "HiddenState(): two modules with one state_dict differ by "),
        (HasLock, "HasLock(): copy.deepcopy raised TypeError: cannot pickle"),
        (DrawsForNothing, "DrawsForNothing(): random numbers are drawn in evaluation"),
        (NoDropout, "NoDropout(): attn_drop of the slot does not act in training"),
        (AlwaysBias, "AlwaysBias(): proj has a bias, but proj_bias=False"),
        (AlwaysSingle, "AlwaysSingle(): not of the slot's device and dtype: proj.weight, proj.bias; give slot.device"),
        (Peeks, "Peeks(): raised on the meta device: "),
        (OwnForward, "OwnForward(): is_causal is accepted and ignored; the base class refuses it"),
        (OtherForward, "OtherForward(): attend and forward give other tokens"),
        (NoTap, "NoTap(): a map is handed on, but none passed through self.seen, where probes read it: weigh"),
        (Positional, "Positional(): options must be keyword-only, behind a `*`: factor"),
        (Required, "Required(): options need a default, so that a sweep can name the mechanism alone: factor"),
        (Shared, "<class 'test_check_attention.Shared'> is no class on archsweep.testing.TokenAttention"),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
def test_a_fault_is_named(made, sentence):
    with pytest.raises(AssertionError) as caught:
        check_attention(made, options=FACTOR)
    assert str(caught.value).replace(f"{__name__}.", "test_check_attention.").startswith(sentence)


def test_noise_in_evaluation_is_a_fault():
    """Whichever condition meets it first: two calls are compared in several."""
    with pytest.raises(AssertionError, match=r"DrawsNoise\(\): "):
        check_attention(DrawsNoise, options=FACTOR)


@pytest.mark.parametrize(
    ("made", "options", "sentence"),
    [
        (
            Ignores,
            [{"factor": 2.0}, {"power": 3}],
            "Ignores(power=3): the option power changes nothing: it is accepted and ignored",
        ),
        (Sound, [], "Sound(): give options=[...] with other values than the default for: factor"),
        (Sound, [{"factor": 1.0}], "Sound(factor=1.0): factor has its default: give another value"),
        (Sound, [{"facto": 2.0}], "Sound(facto=2.0): there is no option facto; its options: factor"),
        (Sound, [{"factor": "two"}], "Sound(factor='two'): no sweep can write these options: "),
        (NoAnnotation, FACTOR, "NoAnnotation(): "),
    ],
    ids=["ignored", "untried", "default", "unknown", "type", "no annotation"],
)
def test_a_fault_of_options_is_named(made, options, sentence):
    with pytest.raises(AssertionError) as caught:
        check_attention(made, options=options)
    assert str(caught.value).startswith(sentence)
    if made is NoAnnotation:
        assert "option 'factor' of attention 'NoAnnotation' has no annotation" in str(caught.value)
