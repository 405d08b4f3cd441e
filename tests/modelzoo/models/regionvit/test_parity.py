"""Parity of RegionViT with the released model: logits, features, local maps, gradients; strict loading of its state."""

from __future__ import annotations

import pytest
import torch

from modelzoo.models.regionvit.registry import build_official, official_state
from search_space.parsing.errors import SpecError

FALLBACK = {"atol": 1e-4, "rtol": 1e-4}
TINY = {
    "img_size": 32,
    "patch_size": 4,
    "num_classes": 3,
    "embed_dim": [8, 8, 16],
    "depth": [1, 1],
    "num_heads": [2, 2],
    "kernel_sizes": [2, 2],
    "downsampling": ["c", "sc"],
}


def released(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """State dict as released, with the shared projection twice."""
    state = dict(model.state_dict())
    twice = {key.replace(".proj.", ".proj_cls."): value for key, value in state.items() if ".block.0.proj." in key}
    return state | twice


def replay(golden) -> dict[str, torch.Tensor]:
    model = build_official(golden.meta["config"])
    model.load_state_dict(official_state(golden.group("state."), model))
    model.train(golden.meta["mode"] == "train")
    image = golden.tensors["input"].clone().requires_grad_()
    tokens, maps = model.forward_intermediates(image)
    seen = {f"local_map_stage{stage}": local.detach() for stage, local in enumerate(maps)}
    seen["features"] = model.forward_head(tokens, pre_logits=True).detach()
    seen["output"] = model(image)
    if "cotangent" in golden.tensors:
        (seen["output"] * golden.tensors["cotangent"]).sum().backward()
        seen["grad_input"] = image.grad
        seen |= {f"grad_param.{name}": parameter.grad for name, parameter in model.named_parameters()}
    return seen


@pytest.mark.golden("regionvit")
def test_model_equals_the_released_one(golden, record_property):
    seen = replay(golden)
    answers = {
        k: v for k, v in golden.tensors.items() if not k.startswith("state.") and k not in ("input", "cotangent")
    }
    assert {"output", "features"} <= set(answers)
    tolerance = golden.meta.get("tolerance", FALLBACK)
    wrong = {}
    for key, want in answers.items():
        error = (seen[key] - want).abs()
        record_property(key, error.max().item())
        if (error > tolerance["atol"] + tolerance["rtol"] * want.abs()).any():
            wrong[key] = error.max().item()
    assert wrong == {}


@pytest.mark.golden("regionvit")
def test_model_has_as_many_parameters_as_the_released_one(golden):
    model = build_official(golden.meta["config"])
    assert sum(parameter.numel() for parameter in model.parameters()) == golden.meta["params"]


@pytest.mark.parametrize(
    "options",
    [
        {"patch_conv_type": "1conv", "patch_size": 2},
        {"patch_conv_type": "linear", "patch_size": 2},
        {"computed_cls_token": False},
        {"peg": True, "det_norm": True},
        {"qkv_bias": False, "qk_scale": 0.3},
        {"mlp_ratio": [2, 3], "kernel_sizes": [[2, 2], [3, 3]]},
        {"downsampling": ["sc", "c"]},
        {"drop_rate": 0.2, "attn_drop_rate": 0.1, "drop_path_rate": 0.3},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_argument_of_the_released_constructor_builds_a_model_that_loads_its_own_state(options):
    model = build_official({**TINY, **options})
    state = released(model)
    if "cls_token.token" in state:
        state["cls_token"] = state.pop("cls_token.token")
    model.load_state_dict(official_state(state, model))
    # 30 x 23 fills neither windows nor regions
    assert model(torch.randn(2, 3, 30, 23)).shape == (2, 3)


def test_rates_and_scale_reach_their_modules():
    model = build_official({**TINY, "drop_rate": 0.2, "attn_drop_rate": 0.1, "drop_path_rate": 0.3, "qk_scale": 0.7})
    last = model.layers[1].block[1]
    rates = (model.pos_drop.p, last.attn.proj_drop.p, last.mlp.drop1.p, last.attn.attn_drop.p, last.drop_path.drop_prob)
    assert rates == pytest.approx((0.2, 0.2, 0.2, 0.1, 0.3))
    assert last.attn.scale == 0.7


def test_unknown_and_missing_arguments_are_all_named():
    config = {key: value for key, value in TINY.items() if key != "depth"} | {"kernel_size": 3}
    with pytest.raises(SpecError) as caught:
        build_official(config)
    messages = [problem.message for problem in caught.value.problems]
    assert messages == ["regionvit: unknown argument 'kernel_size'", "regionvit: argument 'depth' is missing"]
    assert caught.value.problems[0].hint.endswith("Did you mean 'kernel_sizes'?")


def test_windows_must_be_square():
    with pytest.raises(SpecError) as caught:
        build_official({**TINY, "kernel_sizes": [[2, 3], [2, 2]]})
    assert str(caught.value) == "regionvit: kernel_sizes must be square, but got [2, 3]"


def test_missing_unexpected_and_misshapen_keys_are_all_named():
    model = build_official(TINY)
    state = released(model)
    del state["head.bias"], state["layers.1.block.0.proj_cls.2.bias"]
    state["head.biass"] = torch.zeros(3)
    state["norm.weight"] = torch.zeros(4)
    with pytest.raises(SpecError) as caught:
        official_state(state, model)
    messages = [problem.message for problem in caught.value.problems]
    assert messages == [
        "regionvit: key 'layers.1.block.0.proj_cls.2.bias' is missing from the state",
        "regionvit: key 'head.bias' is missing from the state",
        "regionvit: key 'norm.weight' must have shape (16,), but has (4,)",
        "regionvit: unexpected key 'head.biass' in the state",
    ]
    assert caught.value.problems[-1].hint.endswith("Did you mean 'head.bias'?")


def test_two_names_of_one_projection_must_agree():
    model = build_official(TINY)
    state = released(model)
    state["layers.1.block.0.proj_cls.2.bias"] = state["layers.1.block.0.proj_cls.2.bias"] + 1
    with pytest.raises(SpecError) as caught:
        official_state(state, model)
    assert str(caught.value) == (
        "regionvit: key 'layers.1.block.0.proj_cls.2.bias' differs from 'layers.1.block.0.proj.2.bias', "
        "but the released model has one projection\n"
        "  both keys are the same weights; use the correct ones for both"
    )
