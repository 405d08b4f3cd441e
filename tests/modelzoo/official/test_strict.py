"""Strict checks of `from_official`: all unknown, missing and unexpected names are reported."""

from __future__ import annotations

import pytest
import torch

from modelzoo import from_official
from search_space.parsing.errors import SpecError

DLA = {"inp": 2, "oup": 2, "expand_ratio": 1}
GMA = {"dim": 20, "num_heads": 3, "aggregator_kernels": [3, 3], "crpe_windows": {"3": 3}}


def dla_state() -> dict[str, torch.Tensor]:
    """State dict of the official DLA without expansion, for two maps."""
    norm = {"weight": (2,), "bias": (2,), "running_mean": (2,), "running_var": (2,)}
    shapes = {"depth_sep_conv.weight": (2, 1, 3, 3), "conv_pro.weight": (2, 2, 1, 1)}
    shapes |= {f"{bn}.{key}": shape for bn in ("bn2", "bn3") for key, shape in norm.items()}
    state = {key: torch.ones(shape) for key, shape in shapes.items()}
    return state | {f"{bn}.num_batches_tracked": torch.tensor(7) for bn in ("bn2", "bn3")}


def refusal(system, config, state) -> str:
    with pytest.raises(SpecError) as caught:
        from_official(system, config, state)
    return str(caught.value)


def test_official_state_is_loaded():
    module = from_official("dla", DLA, dla_state())
    assert module.bn3.num_batches_tracked == 7
    assert module.conv_pro.weight.unique().tolist() == [1.0]


def test_unknown_system():
    assert refusal("dna", {}, {}) == (
        "unknown system 'dna'\n"
        "  known: deepvit, deepvit_stem, dla, focal_transformer, gma_block, gma_module, groupmixformer,\n"
        "    groupmixformer_variant, reattention, refined_attention, refined_block, refined_vit, refined_vit_stem,\n"
        "    regionvit.  Did you mean 'dla'?"
    )


def test_unknown_and_missing_arguments():
    assert refusal("dla", {"inp": 2, "kernelsize": 3}, {}) == (
        "dla: unknown argument 'kernelsize'\n"
        "  known: batch_norm_eps, expand_ratio, inp, kernel_size, oup, refine_mode.  Did you mean 'kernel_size'?\n"
        "dla: argument 'oup' is missing"
    )


def test_missing_unexpected_and_misshapen_keys():
    state = dla_state() | {"bn3.weight": torch.ones(3), "bn4.weight": torch.ones(2)}
    del state["bn2.bias"]
    problems = [problem.message for problem in _problems("dla", DLA, state)]
    assert problems == [
        "dla: key 'bn2.bias' is missing from the state",
        "dla: key 'bn3.weight' must have shape (2,), but has (3,)",
        "dla: unexpected key 'bn4.weight' in the state",
    ]


def _problems(system, config, state):
    with pytest.raises(SpecError) as caught:
        from_official(system, config, state)
    return caught.value.problems


@pytest.mark.parametrize("changed", [{"refine_mode": "conv", "expand_ratio": 3}, {"refine_mode": "conv_expand"}])
def test_unknown_refine_modes_are_refused(changed):
    config = {**DLA, **changed}
    assert refusal("dla", config, {}) == (
        f"dla: refine_mode={config['refine_mode']!r} with expand_ratio={config['expand_ratio']} is not supported\n"
        "  legal: refine_mode='conv_exapnd', or refine_mode='conv' with expand_ratio=1"
    )


def test_derived_arguments_must_agree():
    assert refusal("gma_module", {**GMA, "segment_dim": 4}, {}) == (
        "gma_module: segment_dim is 4, but 5 follows from the other arguments"
    )


def test_position_windows_must_cover_the_heads():
    assert refusal("gma_module", {**GMA, "crpe_windows": {"3": 2, "5": 2}}, {}) == (
        "arch.attention: the heads of crpe_windows must sum to num_heads=3, but got {3: 2, 5: 2}\n"
        "  for example {3: 1, 5: 1, 7: 1}"
    )


def test_map_sharing_needs_a_map():
    module = from_official_sharing()
    with pytest.raises(ValueError, match="needs the map of the block before it, and none came"):
        module(torch.zeros(1, 3, 4))


def from_official_sharing():
    """Sharing block of 4 channels and 2 heads; its state is written from the official key list."""
    norm = ("weight", "bias", "running_mean", "running_var")
    state = {"qkv.weight": torch.ones(4, 4), "qkv.bias": torch.ones(4)}
    state |= {"proj.weight": torch.ones(4, 4), "proj.bias": torch.ones(4)}
    state |= {"DLA.conv_exp.weight": torch.ones(6, 2, 1, 1), "DLA.depth_sep_conv.weight": torch.ones(6, 1, 3, 3)}
    state |= {"DLA.conv_pro.weight": torch.ones(2, 6, 1, 1)}
    for name, size in (("DLA.bn1", 6), ("DLA.bn2", 6), ("DLA.bn3", 2), ("adapt_bn", 2)):
        state |= {f"{name}.{key}": torch.ones(size) for key in norm} | {f"{name}.num_batches_tracked": torch.tensor(0)}
    config = {"dim": 4, "num_heads": 2, "qkv_bias": True, "share_atten": True, "kernel_size": 5, "head_expand": 6}
    return from_official("refined_attention", config, state)
