"""Parity of the decode heads with mmsegmentation: logits, losses, gradients and running statistics in both modes."""

from __future__ import annotations

import re

import pytest
import torch

from modelzoo.dense.heads.fcn import FCNHead
from modelzoo.dense.heads.semantic_fpn import SemanticFPNHead
from modelzoo.dense.heads.units import resize
from modelzoo.dense.heads.upernet import UperNetHead
from modelzoo.dense.loss import pixel_cross_entropy, segmentation_loss
from modelzoo.dense.pyramid import FeaturePyramid
from modelzoo.dense.segmenter import Segmentation

IGNORED = 255
RELATIVE = 1e-5


def with_state(module: torch.nn.Module, state: dict[str, torch.Tensor], training: bool) -> torch.nn.Module:
    module.load_state_dict(state, strict=True)
    return module.train(training)


def neck_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names of torchvision's pyramid for those of mmsegmentation's."""
    rename = {"lateral_convs": "inner_blocks", "fpn_convs": "layer_blocks"}
    return {
        re.sub(r"^(\w+)\.(\d+)\.conv\.", lambda found: f"fpn.{rename[found[1]]}.{found[2]}.0.", key): value
        for key, value in state.items()
    }


def built(golden) -> tuple[torch.nn.Module, torch.nn.Module | None, torch.nn.Module | None]:
    """Decode head, neck and auxiliary head of a case."""
    config, training = golden.meta["config"], golden.meta["mode"] == "train"
    assert config["align_corners"] is False
    options = {"head_dim": config["channels"], "dropout": config["dropout_ratio"]}
    channels, classes = config["in_channels"], config["num_classes"]
    neck = auxiliary = None
    if golden.meta["system"] == "upernet_head":
        head = UperNetHead(channels, classes, pool_scales=config["pool_scales"], **options)
    else:
        strides = config["feature_strides"]
        neck = FeaturePyramid(channels, strides, config["neck_out_channels"])
        with_state(neck, neck_state(golden.group("state.neck.")), training)
        head = SemanticFPNHead(neck.channels, strides, classes, **options)
    if "auxiliary_head" in config:
        other = config["auxiliary_head"]
        assert (other["head"], other["concat_input"]) == ("FCNHead", False)
        in_dim = channels[other["index"]]
        auxiliary = FCNHead(in_dim, classes, head_dim=other["channels"], num_convs=other["num_convs"], dropout=0)
        with_state(auxiliary, golden.group("state.auxiliary_head."), training)
    return with_state(head, golden.group("state.decode_head."), training), neck, auxiliary


def running_statistics(**modules: torch.nn.Module | None) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{key}": value
        for part, module in modules.items()
        if module is not None
        for key, value in module.state_dict().items()
        if key.rpartition(".")[2] in ("running_mean", "running_var")
    }


@pytest.mark.golden("upernet_head", "semantic_fpn_head")
def test_head_equals_the_reference(golden):
    head, neck, auxiliary = built(golden)
    tensors, config = golden.tensors, golden.meta["config"]
    maps = [tensors[f"input.{level}"].clone().requires_grad_() for level in range(len(config["in_channels"]))]
    label = tensors["label"]
    logits = head(maps if neck is None else neck(maps))
    seen = {"logits": logits, "logits_full": resize(logits, label.shape[-2:])}
    seen["loss.decode_mean_over_valid"] = pixel_cross_entropy(seen["logits_full"], label)
    # The reference divides by all pixels.
    share = (label != IGNORED).sum() / label.numel()
    assert share < 1
    seen["loss"] = seen["loss.decode"] = seen["loss.decode_mean_over_valid"] * share
    if auxiliary is not None:
        other = config["auxiliary_head"]
        seen["aux_logits"] = auxiliary(maps[other["index"]])
        output = Segmentation(seen["logits_full"], resize(seen["aux_logits"], label.shape[-2:]))
        seen["loss"] = share * segmentation_loss(output, label, aux_weight=other["loss_weight"])
        seen["loss.auxiliary"] = seen["loss"] - seen["loss.decode"]
    seen["loss"].backward()
    seen |= {f"grad.input.{level}": each.grad for level, each in enumerate(maps)}
    seen |= {
        f"state_after.{key}": value
        for key, value in running_statistics(decode_head=head, auxiliary_head=auxiliary).items()
    }
    answers = {
        key: value
        for key, value in tensors.items()
        if not key.startswith(("state.", "input.")) and key not in ("label", "prediction")
    }
    # Relative to the largest value, because gradients are smaller than any absolute tolerance.
    errors = {key: ((seen[key].detach() - want).abs().max() / want.abs().max()).item() for key, want in answers.items()}
    assert {key: error for key, error in errors.items() if error > RELATIVE} == {}
    assert torch.equal(seen["logits_full"].argmax(1), tensors["prediction"])
    # Nothing that the reference has was left out of the comparison.
    if golden.meta["mode"] == "train":
        assert {key for key in seen if key.startswith("state_after.")} <= set(answers)
