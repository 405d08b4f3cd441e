"""Parity of the layer of BERT, its maps and their refinement with recorded ones: with and without padding."""

from __future__ import annotations

import pytest
import torch

from modelzoo.attention import Slot
from modelzoo.attention.reattention import Reattention
from modelzoo.attention.refiner import RefinedAttention
from modelzoo.text.encoder import BertBlock

OURS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
    "theta": "attention.self.mechanism.reatten_matrix",
    "theta_norm": "attention.self.mechanism.var_norm",
    "expand": "attention.self.mechanism.DLA.conv_exp",
    "expand_norm": "attention.self.mechanism.DLA.bn1",
    "local": "attention.self.mechanism.DLA.depth_sep_conv",
    "local_norm": "attention.self.mechanism.DLA.bn2",
    "reduce": "attention.self.mechanism.DLA.conv_pro",
    "reduce_norm": "attention.self.mechanism.DLA.bn3",
    "out_norm": "attention.self.mechanism.adapt_bn",
}
COUNTER = "num_batches_tracked"


def recorded_block(golden) -> BertBlock:
    """A block with the recorded weights."""
    config = golden.meta["config"]
    dim, heads = config["hidden_size"], config["num_attention_heads"]
    block = BertBlock(dim, heads, hidden=config["intermediate_size"])
    slot = Slot(dim=dim, num_heads=heads)
    eps = config["batch_norm_eps"]
    if config["attention"] == "re_attention":
        block.attention.self.refine(Reattention(slot, batch_norm_eps=eps))
    elif config["attention"] == "refined":
        sizes = {"expansion": config["expansion"], "kernel_size": config["kernel"]}
        block.attention.self.refine(RefinedAttention(slot, **sizes, batch_norm_eps=eps))
    else:
        assert config["attention"] == "softmax"
    state = {}
    for key, value in golden.group("state.").items():
        part, _, weight = key.rpartition(".")
        state[f"{OURS[part]}.{weight}"] = value
    missing, unexpected = block.load_state_dict(state, strict=False)
    assert unexpected == []
    assert [name for name in missing if not name.endswith(COUNTER)] == []
    return block.train(golden.meta["mode"] == "train")


@pytest.mark.golden("bert_layer")
def test_layer_and_maps_are_those_recorded(golden):
    block, tensors = recorded_block(golden), golden.tensors
    limits = golden.meta["tolerance"]
    tolerance = {"atol": limits["atol"], "rtol": limits["rtol"]}
    keep = tensors.get("keep", torch.ones(tensors["input"].shape[:2], dtype=torch.bool))
    seen = []
    mechanism = block.attention.self.mechanism
    if mechanism is not None:
        mechanism.seen.register_forward_hook(lambda _module, _args, output: seen.append(output))
    output = block(tensors["input"], keep)
    torch.testing.assert_close(output[keep], tensors["output"][keep], **tolerance)
    if mechanism is not None:
        torch.testing.assert_close(seen[0], tensors["refined"], **tolerance)
    gradients = golden.group("grad.")
    assert gradients == {}, "recorded gradients would have to be compared"
