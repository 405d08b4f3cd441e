"""Parity of Group-Mix attention with the official module: intermediate tensors, gradients, statistics."""

from __future__ import annotations

import pytest
import torch

from modelzoo import from_official

FALLBACK = {"atol": 1e-4, "rtol": 1e-4}


def replay(golden):
    config = golden.meta["config"]
    module = from_official("gma_module", config, golden.group("state."))
    module.train(golden.meta["mode"] == "train")
    seen: dict[str, torch.Tensor] = {}

    def keep_mixed(_module, _inputs, output):
        mixed_3BNT, local_BNS = output
        heads = mixed_3BNT.unflatten(-1, (config["num_heads"], -1)).transpose(2, 3)
        seen.update({f"inter.{name}": tensor.detach() for name, tensor in zip("qkv", heads, strict=True)})
        seen["inter.local"] = local_BNS.detach()

    module.aggregator.register_forward_hook(keep_mixed)
    module.crpe.register_forward_hook(lambda _m, _i, out: seen.__setitem__("inter.crpe", out.detach()))
    module.proj.register_forward_pre_hook(lambda _m, inputs: seen.__setitem__("inter.pre_proj", inputs[0].detach()))
    x = golden.tensors["input"].clone().requires_grad_()
    grid_size = (golden.meta["input"]["height"], golden.meta["input"]["width"])
    seen["output"], handed_on = module.attend(x, grid_size=grid_size)
    assert handed_on is None
    (seen["output"] * golden.tensors["cotangent"]).sum().backward()
    seen["grad_input"] = x.grad
    seen |= {f"grad_param.{name}": parameter.grad for name, parameter in module.named_parameters()}
    seen |= {f"state_after.{name}": buffer for name, buffer in module.named_buffers()}
    return seen


@pytest.mark.golden("gma_module")
def test_module_equals_the_official_one(golden):
    seen = replay(golden)
    tolerances = golden.meta.get("tolerance", {})
    answers = {
        key: value
        for key, value in golden.tensors.items()
        if not key.startswith("state.") and key not in ("input", "cotangent")
    }
    assert {"output", "grad_input"} <= set(answers)
    wrong, worst = {}, 0.0
    for key, want in answers.items():
        got = seen[key].to(want.dtype)
        tolerance = tolerances.get(key, FALLBACK)
        excess = (got - want).abs() - (tolerance["atol"] + tolerance["rtol"] * want.abs())
        worst = max(worst, ((got - want).abs().max() / want.abs().max().clamp_min(1e-30)).item())
        if excess.max() > 0:
            wrong[key] = excess.max().item()
    print(f"worst relative error {worst:.1e}")
    assert wrong == {}
