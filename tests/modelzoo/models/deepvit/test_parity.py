"""Parity of DeepViT with the released model: outputs, maps, tokens of every block, a training step with gradients."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from modelzoo import from_official


@pytest.mark.golden("deepvit")
def test_model_equals_the_released_one(golden, check_parity):
    replay = {"eval": evaluated, "train": trained}[golden.meta["mode"]]
    check_parity(golden, replay(golden), "input", "target")


def evaluated(golden) -> dict[str, torch.Tensor]:
    """Intermediate tensors under their golden names."""
    model = from_official("deepvit", golden.meta["config"], golden.group("state.")).eval()
    seen: dict[str, torch.Tensor] = {}
    model.patch_embed.register_forward_hook(lambda _m, _i, out: seen.__setitem__("patch_tokens", out))
    model.norm.register_forward_hook(lambda _m, _i, out: seen.__setitem__("final_norm", out))
    for index, block in enumerate(model.blocks):
        block.register_forward_pre_hook(
            lambda block, inputs, index=index: seen.__setitem__(f"attn.{index}", block.attend(inputs[0])[1])
        )
        block.register_forward_hook(lambda _m, _i, out, index=index: seen.__setitem__(f"block.{index}", out))
        if block.attn.reatten_matrix is not None:
            block.attn.reatten_matrix.register_forward_pre_hook(
                lambda _m, inputs, index=index: seen.__setitem__(f"softmax.{index}", inputs[0])
            )
    seen["output"] = model(golden.tensors["input"])
    return seen


def trained(golden) -> dict[str, torch.Tensor]:
    """Loss, gradients and running statistics of one step."""
    model = from_official("deepvit", golden.meta["config"], golden.group("state_before.")).train()
    image = golden.tensors["input"].clone().requires_grad_()
    answer, maps = model(image), []
    if golden.meta["config"].get("cos_reg"):
        answer, maps = answer
    cross_entropy = -(golden.tensors["target"] * F.log_softmax(answer, dim=-1)).sum(dim=-1).mean()
    loss = cross_entropy
    if maps:
        # The recorded regulariser: the first two pairs of maps, along the head axis.
        pairs = [F.cosine_similarity(one, two, dim=1) for one, two in itertools.pairwise(maps)]
        loss = loss + 0.1 * sum(pairs[:2]).mean() / 2
    loss.backward()
    seen = {"output": answer, "loss": loss, "loss_ce_part": cross_entropy, "grad_input": image.grad}
    seen |= {f"attn.{index}": attn for index, attn in enumerate(maps)}
    seen |= {f"grad.{name}": parameter.grad for name, parameter in model.named_parameters()}
    return seen | {f"buffer_after.{name}": buffer for name, buffer in model.named_buffers()}


@pytest.mark.golden("deepvit_stem")
def test_stem_equals_the_released_one(golden, check_parity):
    stem = from_official("deepvit_stem", golden.meta["config"], golden.group("state.")).eval()
    image = golden.tensors["input"].clone().requires_grad_()
    seen = {"output": stem(image)}
    (seen["output"] * golden.tensors["cotangent"]).sum().backward()
    seen["grad_input"] = image.grad
    seen |= {f"grad.{name}": parameter.grad for name, parameter in stem.named_parameters()}
    check_parity(golden, seen, "input", "cotangent")
