"""Contract of attention mechanisms (`modelzoo/attention/contract.py`), one function for each condition."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from timm.models import VisionTransformer
from torch import nn

from archsweep.testing.attention_case import DIM, HEADS, Case, expect, largest_difference
from archsweep.testing.attention_options import check_options
from modelzoo.attention.contract import TokenAttention

__all__ = ["CONDITIONS", "Case", "check_attention"]


def check_attention(
    made: type[TokenAttention], *, options: Sequence[Mapping[str, Any]] = (), is_global: bool = True
) -> None:
    """Check a mechanism against the contract, with its defaults and with each of the given sets of options.

    Args:
        options: sets of options that together give every option a value that is not its default, for a width of 40
            and 4 heads.
        is_global: whether every token depends on every other; False for windows and other sparse patterns.

    Raises:
        AssertionError: a condition does not hold; the message names mechanism, options and condition.
    """
    if not (inspect.isclass(made) and issubclass(made, TokenAttention)):
        raise AssertionError(f"{made!r} is no class on archsweep.testing.TokenAttention")
    check_options(made, options)
    for given in ({}, *options):
        case = Case(made, given, is_global)
        for condition in CONDITIONS.values():
            condition(case)


def _keeps_the_shape(case: Case) -> None:
    """Without and with prefix tokens, on grids that are square and are not: same shape and dtype, all finite."""
    for num_prefix in (0, 1, 2):
        for grid in ((2, 3), (3, 3), (1, 4)):
            slot = case.slot(grid=grid, num_prefix_tokens=num_prefix)
            x = case.tokens(slot=slot)
            y = case.built(slot)(x)
            where = f"on a grid of {grid[0]}x{grid[1]} with {num_prefix} prefix tokens"
            expect(y.shape == x.shape, case, f"tokens {tuple(x.shape)} became {tuple(y.shape)} {where}")
            expect(y.dtype == x.dtype, case, f"tokens of {x.dtype} became {y.dtype} {where}")
            expect(bool(y.isfinite().all()), case, f"the output has NaN or infinite values {where}")


def _separates_images(case: Case) -> None:
    module, x = case.built().eval(), case.tokens(2)
    before = module(x)
    x[1] = 100.0
    after = module(x)
    moved = largest_difference(after[0], before[0])
    expect(moved <= 1e-6, case, f"one image sees another: a change of image 1 moved the output of image 0 by {moved:g}")
    expect(not torch.allclose(after[1], before[1]), case, "the output does not depend on the tokens of its image")


def _mixes_tokens(case: Case) -> None:
    """Including prefix to patches, and patches to prefix."""
    if not case.is_global:
        return
    module, x = case.built().double().eval(), case.tokens(1).double()
    for changed in range(x.shape[1]):
        other = x.clone()
        other[0, changed] += 1.0
        moved = (module(other) - module(x)).abs().amax(dim=-1)[0]
        blind = [index for index in range(x.shape[1]) if moved[index] <= 1e-12]
        sentence = f"tokens {blind} do not depend on token {changed}; is_global=False if that is meant"
        expect(not blind, case, sentence)


def _trains_every_parameter(case: Case) -> None:
    for training in (False, True):
        module, x = case.built().double().train(training), case.tokens().double().requires_grad_()
        (module(x) * torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)).sum().backward()
        mode = "training" if training else "evaluation"
        expect(x.grad is not None and bool(x.grad.abs().max() > 0), case, f"no gradient reaches the tokens in {mode}")
        silent = [key for key, p in module.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
        expect(silent == [], case, f"no gradient reaches {', '.join(silent)} in {mode}")


def _agrees_in_double_precision(case: Case) -> None:
    x = case.tokens()
    single, double = case.built().eval()(x), case.built().double().eval()(x.double())
    expect(double.dtype == torch.float64, case, f"tokens of torch.float64 became {double.dtype}")
    sentence = f"single and double precision differ by up to {largest_difference(single, double):g}"
    expect(torch.allclose(double.float(), single, rtol=1e-4, atol=1e-5), case, sentence)


def _runs_under_autocast(case: Case) -> None:
    for training in (False, True):
        module, x = case.built().train(training), case.tokens()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = module(x)
        expect(bool(y.isfinite().all()), case, "the output has NaN or infinite values under autocast to bfloat16")
        y.float().sum().backward()


def _is_its_state(case: Case) -> None:
    """Another module with the same state computes the same: nothing is kept outside of parameters and buffers."""
    first, second, x = case.built(seed=0), case.built(seed=1), case.tokens()
    first(x)  # changes running statistics from their initial values
    second.load_state_dict(first.state_dict(), strict=True)
    moved = largest_difference(second.eval()(x), first.eval()(x))
    expect(moved == 0, case, f"two modules with one state_dict differ by {moved:g}: something is not in it")


def _can_be_copied(case: Case) -> None:
    module, x = case.built().eval(), case.tokens()
    for how, duplicate in (
        ("copy.deepcopy", copy.deepcopy),
        ("pickle", lambda each: pickle.load(io.BytesIO(pickle.dumps(each)))),
    ):
        try:
            made = duplicate(module)
        except Exception as err:
            raise AssertionError(f"{case.name}: {how} raised {type(err).__name__}: {err}") from err
        expect(torch.equal(made(x), module(x)), case, f"a duplicate by {how} computes something else")


def _repeats_itself(case: Case) -> None:
    """In evaluation with dropouts set, and in training without; neither draws from torch's generator."""
    dropping = case.slot(attn_drop=0.5, proj_drop=0.5)
    for slot, training, mode in ((dropping, False, "evaluation"), (None, True, "training without dropout")):
        module, x = case.built(slot).train(training), case.tokens()
        with torch.random.fork_rng(devices=[]):
            before = torch.random.get_rng_state()
            first = module(x)
            drew = not torch.equal(before, torch.random.get_rng_state())
            expect(torch.equal(module(x), first), case, f"two calls in {mode} differ")
        expect(not drew, case, f"random numbers are drawn in {mode}")


def _follows_dropouts(case: Case) -> None:
    for which in ("attn_drop", "proj_drop"):
        rate: dict[str, Any] = {which: 0.5}
        module, x = case.built(case.slot(**rate)).train(), case.tokens()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            expect(not torch.allclose(module(x), module(x)), case, f"{which} of the slot does not act in training")


def _follows_biases(case: Case) -> None:
    for bias in (False, True):
        keys = set(case.built(case.slot(qkv_bias=bias, proj_bias=bias)).state_dict())
        for layer in ("qkv", "proj"):  # a mechanism may do without one of them
            if f"{layer}.weight" in keys:
                has = f"{layer}.bias" in keys
                expect(has is bias, case, f"{layer} {'has a' if has else 'has no'} bias, but {layer}_bias={bias}")


def _follows_the_device(case: Case) -> None:
    """Costs are measured on the meta device; a slot may name device and dtype itself."""
    with torch.device("meta"):
        module = case.made(case.slot(), **case.options)
        try:
            y = module(torch.empty(3, 7, DIM))
        except Exception as err:
            raise AssertionError(f"{case.name}: raised on the meta device: {type(err).__name__}: {err}") from err
    real = [key for key, each in (*module.named_parameters(), *module.named_buffers()) if not each.is_meta]
    expect(y.shape == (3, 7, DIM) and y.is_meta and not real, case, f"not on the meta device: {real or 'the output'}")
    placed = case.made(case.slot(device="meta", dtype=torch.float64), **case.options)
    tensors = (*placed.named_parameters(), *placed.named_buffers())
    wrong = [key for key, each in tensors if not each.is_meta or each.dtype == torch.float32]
    hint = "give slot.device and slot.dtype to every layer: **slot.factory"
    expect(not wrong, case, f"not of the slot's device and dtype: {', '.join(wrong)}; {hint}")


def _attends_as_forward(case: Case) -> None:
    """`attend` gives the tokens of `forward`, and the map that passed through `seen`, where there is one."""
    module, x = case.built().eval(), case.tokens()
    shapes: list[torch.Size] = []
    module.seen.register_forward_hook(lambda _module, _given, out: shapes.append(out.shape))
    given = module.attend(x)
    expect(isinstance(given, tuple) and len(given) == 2, case, "attend must give (tokens, map), the map may be None")
    together, handed_on = given
    expect(torch.allclose(together, module(x), rtol=1e-5, atol=1e-6), case, "attend and forward give other tokens")
    if handed_on is not None:
        expect(handed_on.shape[-2:] == (x.shape[1], x.shape[1]), case, f"the map of attend is {tuple(handed_on.shape)}")
        expect(bool(shapes), case, "a map is handed on, but none passed through self.seen, where probes read it: weigh")


def _minds_masks(case: Case) -> None:
    module, x = case.built().eval(), case.tokens()
    try:
        masked = module(x, is_causal=True)
    except ValueError:
        return
    expect(not torch.allclose(masked, module(x)), case, "is_causal is accepted and ignored; the base class refuses it")


def _works_inside_a_vit(case: Case) -> None:
    for class_token in (False, True):
        pool = {"class_token": class_token, "global_pool": "token" if class_token else "avg"}
        sizes = {"img_size": (4, 6), "patch_size": 2, "embed_dim": DIM, "depth": 2, "num_heads": HEADS}
        model = VisionTransformer(**sizes, **pool, num_classes=5)  # pyright: ignore[reportArgumentType]
        for block in model.blocks:
            assert isinstance(block, nn.Module)
            block.attn = case.built(case.slot(num_prefix_tokens=int(class_token)))
        logits = model(torch.randn(3, 3, 4, 6, generator=torch.Generator().manual_seed(2)))
        expect(logits.shape == (3, 5), case, f"in a ViT the logits are {tuple(logits.shape)}, not (3, 5)")
        logits.sum().backward()


CONDITIONS: Mapping[str, Callable[[Case], None]] = {
    "keeps_the_shape": _keeps_the_shape,
    "separates_images": _separates_images,
    "mixes_tokens": _mixes_tokens,
    "trains_every_parameter": _trains_every_parameter,
    "agrees_in_double_precision": _agrees_in_double_precision,
    "runs_under_autocast": _runs_under_autocast,
    "is_its_state": _is_its_state,
    "can_be_copied": _can_be_copied,
    "repeats_itself": _repeats_itself,
    "follows_dropouts": _follows_dropouts,
    "follows_biases": _follows_biases,
    "follows_the_device": _follows_the_device,
    "attends_as_forward": _attends_as_forward,
    "minds_masks": _minds_masks,
    "works_inside_a_vit": _works_inside_a_vit,
}
"""What holds for a mechanism with any of its options; `check_attention` checks the options themselves before."""
