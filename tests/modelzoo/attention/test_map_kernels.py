"""Kernels of refined and mixed maps: what PyTorch's modules compute one after the other, in less memory.

The oracle is the mechanism with `numerics: single`, which is compared with the original implementations elsewhere, and
finite differences. In double precision, so that the order of operations does not hide an error.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from modelzoo import ATTENTION, Slot
from modelzoo.attention.map_kernels import chosen
from modelzoo.attention.map_kernels.chosen import set_numerics
from modelzoo.probes.maps import record_maps

CASES = {
    "refiner": ("refiner", {}),
    "refiner, expansion 6": ("refiner", {"expansion": 6.0}),
    "refiner, not expanded": ("refiner", {"expansion": 1.0}),
    "refiner, no identity": ("refiner", {"identity": False}),
    "refiner, even kernel": ("refiner", {"kernel_size": 4}),
    "refiner, 5x5": ("refiner", {"kernel_size": 5, "expansion": 1.5}),
    "re-attention": ("reattention", {}),
    "re-attention, scaled, no bias": ("reattention", {"transform_scale": True, "theta_bias": False}),
    "re-attention, from identity": ("reattention", {"theta_init": "identity", "norm_momentum": 0.3}),
}
every_case = pytest.mark.parametrize("case", CASES)
WITHOUT_GRADIENT = ("DLA.bn3.bias", "reatten_matrix.bias")
"""Biases that the next norm takes away."""


def pair(case, *, dtype=torch.float64, attn_drop=0.0):
    """A mechanism with drawn parameters of its norms, and its copy with kernels."""
    name, options = CASES[case]
    torch.manual_seed(0)
    plain = ATTENTION[name](Slot(dim=24, num_heads=4, grid_size=(3, 3), attn_drop=attn_drop, dtype=dtype), **options)
    for each, parameter in plain.named_parameters():
        if "bn" in each or "norm" in each:
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    kernels = copy.deepcopy(plain)
    set_numerics(kernels, "recompute")
    return plain, kernels


def step(module, tokens):
    """Output, gradients and running statistics of a step whose dropout is drawn from one seed."""
    torch.manual_seed(1)
    tokens = tokens.clone().requires_grad_()
    out = module.train()(tokens)
    (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    gradients = {name: each.grad for name, each in module.named_parameters()}
    return {"out": out.detach(), "tokens": tokens.grad, **gradients, **dict(module.named_buffers())}


@every_case
@pytest.mark.parametrize("attn_drop", [0.0, 0.3])
@pytest.mark.parametrize("at_a_time", [1, 2**20], ids=["one image at a time", "all at once"])
def test_a_training_step_is_that_of_the_modules(case, attn_drop, at_a_time, monkeypatch):
    """Output, every gradient, running statistics; dropout drops the same entries in both passes."""
    monkeypatch.setattr(chosen, "BYTES_AT_A_TIME", at_a_time)
    tokens = torch.randn(5, 9, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected, found = (step(module, tokens) for module in pair(case, attn_drop=attn_drop))
    assert found.keys() == expected.keys()
    # Some gradients are small differences of large ones, such as that of a norm's scale behind which another norm is.
    largest = max(value.abs().max().item() for value in expected.values() if value.is_floating_point())
    for name, value in expected.items():
        if name in WITHOUT_GRADIENT:
            assert value.abs().max() < 1e-10  # rounding of the modules
            assert not found[name].any()
        elif value.is_floating_point():
            torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-10 * largest, msg=name)
        else:
            assert torch.equal(found[name], value)


@pytest.mark.parametrize("case", ["refiner", "refiner, even kernel", "re-attention, scaled, no bias"])
def test_gradients_are_those_of_finite_differences(case):
    """Of tokens; those of the parameters are compared above. Twice, for optimizers that differentiate the gradient."""
    _, kernels = pair(case)
    kernels.train()
    tokens = torch.randn(2, 3, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    assert torch.autograd.gradcheck(kernels, tokens, fast_mode=True)
    assert torch.autograd.gradgradcheck(kernels, tokens, fast_mode=True)


@pytest.mark.parametrize("case", [each for each in CASES if each.startswith("refiner")])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_evaluation_with_folded_norms_is_that_of_the_modules(case, dtype, bound):
    plain, kernels = pair(case, dtype=dtype)
    tokens = torch.randn(5, 9, 24, dtype=dtype, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        for _ in range(3):
            plain.train()(tokens)  # running statistics of its own
    kernels.load_state_dict(plain.state_dict())
    with torch.inference_mode():
        expected, found = plain.eval()(tokens), kernels.eval()(tokens)
    assert (found - expected).norm() / expected.norm() <= bound


@pytest.mark.parametrize("case", ["refiner", "re-attention"])
def test_second_derivatives_have_the_mask_of_the_forward_pass(case):
    """Numbers drawn between the passes change neither them nor what is drawn later."""
    tokens = torch.randn(3, 5, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(6)).requires_grad_()
    found = []
    for module in pair(case, attn_drop=0.3):
        torch.manual_seed(1)
        out = module.train()(tokens)
        torch.rand(7)
        (once,) = torch.autograd.grad(out.square().sum(), tokens, create_graph=True)
        (twice,) = torch.autograd.grad(once.square().sum(), tokens)
        found.append((once, twice, torch.rand(3)))
    for expected, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())


@pytest.mark.parametrize("attn_drop", [0.0, 0.1])
@pytest.mark.parametrize(
    ("case", "share"), [("refiner", 4), ("refiner, expansion 6", 7), ("re-attention", 4)], ids=["e3", "e6", "mixed"]
)
def test_a_fraction_of_the_memory_is_kept(case, share, attn_drop):
    """12 heads and 197 tokens: what autograd keeps of the mechanism between its passes."""
    name, options = CASES[case]
    kept = []
    for numerics in ("single", "recompute"):
        slot = Slot(dim=192, num_heads=12, grid_size=(14, 14), attn_drop=attn_drop, device="meta")
        module = ATTENTION[name](slot, **options).train()
        set_numerics(module, numerics)
        storages = []

        def pack(tensor, storages=storages):
            storages.append(tensor.untyped_storage())
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            module(torch.randn(4, 197, 192, device="meta", requires_grad=True))
        kept.append(sum({id(each): each.nbytes() for each in storages}.values()))
    assert kept[1] * share <= kept[0]


@pytest.mark.parametrize("case", ["refiner", "re-attention"])
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_checkpointed_step_counts_its_batch_once(case, use_reentrant):
    tokens = torch.randn(4, 9, 24, dtype=torch.float64, requires_grad=True)
    plain, kernels = pair(case)
    plain.train()(tokens)
    checkpoint(kernels.train(), tokens, use_reentrant=use_reentrant).sum().backward()
    for (name, expected), found in zip(plain.named_buffers(), kernels.buffers(), strict=True):
        torch.testing.assert_close(found, expected, msg=name)


def test_maps_are_formed_in_training_where_they_are_recorded():
    """As DeepViT's cosine regulariser does; maps and gradients are those of the modules."""
    tokens = torch.randn(3, 9, 24, dtype=torch.float64)
    recorded = []
    for module in pair("re-attention"):
        model = torch.nn.Sequential(module).train()
        with record_maps(model) as maps:
            model(tokens)
        (only,) = maps
        assert only.weights is not None
        only.weights.square().sum().backward()
        recorded.append((only.weights, *(each.grad for each in module.parameters() if each.grad is not None)))
    for found, expected in zip(*reversed(recorded), strict=True):
        torch.testing.assert_close(found, expected)


def test_auto_leaves_small_trainings_to_the_modules():
    """Bit for bit, because kernels would take longer there; `single` does at any size."""
    tokens = torch.randn(2, 9, 24, dtype=torch.float64)
    plain, kernels = pair("refiner")
    set_numerics(kernels, "auto")
    expected, found = step(plain, tokens), step(kernels, tokens)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_symbolic_traces_record_modules():
    """Graphs of torch.fx hold arithmetic of one size; a traced mechanism computes what it did."""
    _, kernels = pair("refiner")
    tokens = torch.randn(2, 9, 24, dtype=torch.float64)
    traced = torch.fx.symbolic_trace(kernels.eval())
    torch.testing.assert_close(traced(tokens), kernels(tokens))


@pytest.mark.filterwarnings("ignore")  # a trace warns of every size that it fixes
@pytest.mark.parametrize("case", ["refiner", "re-attention"])
def test_traces_take_batches_of_any_size(case):
    """As exports to TorchScript and ONNX record an evaluation: the batch of the example is not part of the graph."""
    _, kernels = pair(case)
    kernels.eval()
    tokens = torch.randn(7, 9, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        traced: Any = torch.jit.trace(kernels, tokens[:2])
        torch.testing.assert_close(traced(tokens), kernels(tokens))
