"""Parity of Focal Transformers with the released ones: outputs, pooled features, and every tensor of a golden case."""

from __future__ import annotations

import pytest
import torch

from modelzoo.models.focal.registry import build_official, official_state

FALLBACK = {"atol": 1e-4, "rtol": 1e-4}


@pytest.mark.golden("focal_transformer")
@pytest.mark.parametrize("fused", [True, False])
def test_model_equals_the_official_one(golden, fused):
    model = build_official(golden.meta["config"])
    model.load_state_dict(official_state(golden.group("state."), model))
    model.train(golden.meta["mode"] == "train")
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused
    image = golden.tensors["input"].clone().requires_grad_()
    features = model.forward_head(model.forward_features(image), pre_logits=True)
    seen = {"features": features, "output": model.head(features)}
    if "cotangent" in golden.tensors:
        (seen["output"] * golden.tensors["cotangent"]).sum().backward()
        seen["grad_input"] = image.grad
        seen |= {f"grad_param.{name}": parameter.grad for name, parameter in model.named_parameters()}
    tolerance = golden.meta.get("tolerance", FALLBACK)
    answers = {
        key: value
        for key, value in golden.tensors.items()
        if not key.startswith("state.") and key not in ("input", "cotangent")
    }
    assert "output" in answers
    for key, want in answers.items():
        print(key, f"max abs error {(seen[key] - want).abs().max().item():.1e}")
        torch.testing.assert_close(seen[key], want, **tolerance, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.golden("focal_transformer")
def test_parameter_count_is_the_official_one(golden):
    model = build_official(golden.meta["config"])
    assert sum(parameter.numel() for parameter in model.parameters()) == golden.meta["params"]
