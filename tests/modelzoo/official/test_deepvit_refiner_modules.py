"""Parity of Re-attention, DLA and refined attention: outputs, maps, gradients, running statistics."""

from __future__ import annotations

import pytest
import torch

from modelzoo import from_official

# Noise of float32 against float64 is about 1e-6 on these cases.
RELATIVE = 1e-5


def relative_error(got: torch.Tensor, want: torch.Tensor, largest_gradient: float) -> float:
    """Relative error max |got - want| / max |want|; for gradients that are rounding noise, relative to the largest one.

    (A bias before a BatchNorm in training mode has the gradient 0, which float32 records as noise.)
    """
    assert got.shape == want.shape
    size = want.abs().max().item()
    if size < 1e-5 * largest_gradient:
        size = largest_gradient
    return (got - want).abs().max().item() / size


def replay(golden):
    """Outputs of our module for the case, under the names of the golden file."""
    module = from_official(golden.meta["system"], golden.meta["config"], golden.group("state."))
    module.train(golden.meta["mode"] == "train")
    seen: dict[str, torch.Tensor] = {}
    for name in ("DLA", "adapt_bn"):
        child = getattr(module, name, None)
        if child is not None:
            label = {"DLA": "dla_out", "adapt_bn": "adapt_bn"}[name]
            child.register_forward_hook(lambda _m, _i, out, label=label: seen.__setitem__(label, out.detach().clone()))
    if getattr(module, "DLA", None) is not None:
        module.DLA.register_forward_pre_hook(lambda _m, inputs: seen.__setitem__("dla_in", inputs[0].detach().clone()))
    if getattr(module, "reatten_matrix", None) is not None:
        module.reatten_matrix.register_forward_pre_hook(
            lambda _m, inputs: seen.__setitem__("softmax", inputs[0].detach().clone())
        )
    x = golden.tensors["input"].clone().requires_grad_()
    leaves = {"grad_input": x}
    if golden.meta["system"] == "dla":
        output = module(x)
    else:
        incoming = golden.tensors.get("input_atten")
        if incoming is not None:
            incoming = incoming.clone().requires_grad_()
            leaves["grad_input_atten"] = incoming
        output, handed_on = module.attend(x, incoming)
        seen["attn" if golden.meta["system"] == "reattention" else "attn_next"] = handed_on
    seen["output"] = output
    (output * golden.tensors["cotangent"]).sum().backward()
    seen |= {name: leaf.grad for name, leaf in leaves.items()}
    seen |= {f"grad.{name}": parameter.grad for name, parameter in module.named_parameters()}
    seen |= {f"buffer_after.{name}": buffer for name, buffer in module.named_buffers()}
    return seen


@pytest.mark.golden("reattention", "dla", "refined_attention")
def test_module_equals_the_official_one(golden):
    seen = replay(golden)
    answers = {
        key: value
        for key, value in golden.tensors.items()
        if not key.startswith("state") and key not in ("input", "input_atten", "cotangent")
    }
    assert {"output", "grad_input"} <= set(answers)
    errors = {}
    for key, want in answers.items():
        gradients = [value.abs().max().item() for other, value in answers.items() if other.startswith("grad")]
        noise_from = max(gradients) if key.startswith("grad") else 0.0
        errors[key] = relative_error(seen[key].to(want.dtype), want, noise_from)
    print(f"worst relative error {max(errors.values()):.1e} in {max(errors, key=errors.__getitem__)}")
    assert {key: error for key, error in errors.items() if error > RELATIVE} == {}


@pytest.mark.golden("reattention", "refined_attention", share_atten=False)
def test_forward_is_what_attend_computes(golden):
    """Hosts call `forward`; it must return the tokens that were compared with the golden output. (A map-sharing
    attention has no forward without a map.)"""
    module = from_official(golden.meta["system"], golden.meta["config"], golden.group("state.")).eval()
    x = golden.tensors["input"]
    torch.testing.assert_close(module(x), module.attend(x)[0], rtol=0, atol=0)
