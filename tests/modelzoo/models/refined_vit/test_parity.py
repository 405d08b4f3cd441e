"""Parity of Refined-ViT with the released model: outputs, attention maps of all blocks, a dense training step."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from modelzoo import from_official
from modelzoo.attention.refiner import MapSharingAttention
from modelzoo.models.refined_vit.mix_token import Box


@pytest.mark.golden("refined_vit")
def test_model_equals_the_released_one(golden, check_parity):
    replay = {"eval": evaluated, "train": trained}[golden.meta["mode"]]
    check_parity(golden, replay(golden), "input", "target_dense")


def evaluated(golden) -> dict[str, torch.Tensor]:
    """Intermediate tensors under their golden names."""
    model = from_official("refined_vit", golden.meta["config"], golden.group("state.")).eval()
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str):
        return lambda _module, _inputs, output: seen.__setitem__(name, output)

    for name, golden_name in {"patch_embed": "patch_map", "norm": "final_norm", "head": "head_logits"}.items():
        model.get_submodule(name).register_forward_hook(keep(golden_name))
    if model.aux_head is not None:
        model.aux_head.register_forward_hook(keep("aux_logits"))
    for index, block in enumerate(model.blocks):

        def keep_block(block, _inputs, output, index=index):
            seen[f"block.{index}"], seen[f"attn_next.{index}"] = output
            attn = seen.get(f"adapt_bn.{index}", output[1])
            seen[f"attn.{index}"] = attn * block.attn.scale if isinstance(block.attn, MapSharingAttention) else attn

        block.register_forward_hook(keep_block)
        if block.attn.DLA is not None:
            block.attn.DLA.register_forward_hook(keep(f"dla_out.{index}"))
            block.attn.adapt_bn.register_forward_hook(keep(f"adapt_bn.{index}"))
            block.attn.DLA.register_forward_pre_hook(
                lambda _m, inputs, index=index: seen.__setitem__(f"dla_in.{index}", inputs[0])
            )
    seen["output"] = model(golden.tensors["input"])
    return seen


def trained(golden) -> dict[str, torch.Tensor]:
    """Loss, gradients and running statistics of one step with dense targets and mixed patches."""
    model = from_official("refined_vit", golden.meta["config"], golden.group("state_before.")).train()
    image = golden.tensors["input"].clone().requires_grad_()
    # The released model draws the box, which the case records.
    logits, patch_logits, box, _ = model.forward_dense(image, Box(*golden.meta["mix_box_x1y1x2y2"]))
    target, patch_target = golden.tensors["target_dense"][:, :, 1], golden.tensors["target_dense"][:, :, 2:]
    kept = 1 - (box.bottom - box.top) * (box.right - box.left) / patch_target.shape[2]
    target = kept * target + (1 - kept) * target.flip(0)
    loss = soft_cross_entropy(logits, target) + 0.5 * soft_cross_entropy(patch_logits, patch_target.transpose(1, 2))
    loss.backward()
    seen = {"output": logits, "aux_output": patch_logits, "loss": loss, "grad_input": image.grad}
    seen |= {f"grad.{name}": parameter.grad for name, parameter in model.named_parameters()}
    return seen | {f"buffer_after.{name}": buffer for name, buffer in model.named_buffers()}


def soft_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return -(target * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()


@pytest.mark.golden("refined_vit_stem", "refined_block")
def test_part_equals_the_released_one(golden, check_parity):
    part = from_official(golden.meta["system"], golden.meta["config"], golden.group("state.")).eval()
    x = golden.tensors["input"].clone().requires_grad_()
    seen: dict[str, torch.Tensor] = {}
    if golden.meta["system"] == "refined_block":
        seen["output"], seen["attn_next"] = part(x)
    else:
        seen["output"] = part(x)
    (seen["output"] * golden.tensors["cotangent"]).sum().backward()
    seen["grad_input"] = x.grad
    seen |= {f"grad.{name}": parameter.grad for name, parameter in part.named_parameters()}
    check_parity(golden, seen, "input", "cotangent")
