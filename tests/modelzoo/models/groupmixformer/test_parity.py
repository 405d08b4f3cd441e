"""Parity of GroupMixFormer with the released model: blocks, stage maps, pooled features, logits, image gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from modelzoo import from_official

FALLBACK = {"atol": 1e-4, "rtol": 1e-4}


def check(golden, seen: dict[str, torch.Tensor]) -> None:
    tolerances = golden.meta["tolerance"]
    worst = {}
    for key, want in golden.tensors.items():
        if key.startswith("state.") or key in ("input", "cotangent"):
            continue
        got, tolerance = seen[key].detach(), tolerances.get(key, FALLBACK)
        worst[key] = ((got - want).abs().max() / want.abs().max()).item()
        torch.testing.assert_close(
            got,
            want,
            atol=tolerance["atol"],
            rtol=tolerance["rtol"],
            msg=lambda text, key=key: f"{key}: {text}",
        )
    assert "output" in worst
    print(f"worst relative error {max(worst.values()):.1e} in {max(worst, key=worst.__getitem__)}")


@pytest.mark.golden("groupmixformer", "groupmixformer_variant")
def test_model_equals_the_released_one(golden):
    state = golden.group("state.") or rebuilt(golden.meta["state_shapes"], golden.meta["base_seed"])
    model = from_official(golden.meta["system"], golden.meta["config"], state).eval()
    seen: dict[str, torch.Tensor] = {}
    model.conv_stem.register_forward_hook(lambda _m, _i, out: seen.__setitem__("stem", out))
    image = golden.tensors["input"].clone().requires_grad_()
    maps = model.stage_maps(image)
    seen |= {f"stage.{index}": each for index, each in enumerate(maps)}
    seen["pooled"] = model.forward_head(model.norm4(maps[-1]), pre_logits=True)
    seen["output"] = model(image)
    if "cotangent" in golden.tensors:
        (seen["output"] * golden.tensors["cotangent"]).sum().backward()
        seen["grad_input"] = image.grad
    check(golden, seen)


def rebuilt(shapes: list, base_seed: int) -> dict[str, torch.Tensor]:
    """Weights of a `groupmixformer_variant` case, generated as described in its JSON."""
    state = {}
    for index, (key, shape) in enumerate(shapes):
        random = np.random.RandomState(base_seed + index)
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
            continue
        if key.endswith("running_mean"):
            values = 0.2 * random.standard_normal(shape)
        elif key.endswith("running_var"):
            values = 0.5 + random.random_sample(shape)
        elif len(shape) == 1:
            weight = key.endswith("weight")
            values = 0.6 + 0.8 * random.random_sample(shape) if weight else 0.1 * random.standard_normal(shape)
        else:
            values = random.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
            values = values * 0.2 if "cpe.proj.weight" in key else values
        state[key] = torch.from_numpy(values.astype(np.float32))
    return state


@pytest.mark.golden("gma_block")
def test_block_equals_the_released_one(golden):
    block = from_official("gma_block", golden.meta["config"], golden.group("state.")).eval()
    seen: dict[str, torch.Tensor] = {}
    block.cpe.register_forward_hook(lambda _m, _i, out: seen.__setitem__("inter.after_cpe", out))
    # The attention is called by `attend`, so its output is recorded at its output dropout.
    block.att.proj_drop.register_forward_hook(lambda _m, _i, out: seen.__setitem__("inter.attention_out", out))
    block.mlp.register_forward_hook(lambda _m, _i, out: seen.__setitem__("inter.mlp_out", out))
    x = golden.tensors["input"].clone().requires_grad_()
    seen["output"] = block(x, (golden.meta["input"]["height"], golden.meta["input"]["width"]))
    (seen["output"] * golden.tensors["cotangent"]).sum().backward()
    seen["grad_input"] = x.grad
    check(golden, seen)
