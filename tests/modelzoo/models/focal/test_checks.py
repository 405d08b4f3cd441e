"""Focal Transformers from released arguments: every option works, and invalid ones are refused with a reason."""

from __future__ import annotations

import pytest
import torch

from modelzoo.models.focal.registry import FocalTransformer, build_official, official_state, released_state
from search_space.parsing.errors import SpecError

SMALL = {
    "img_size": 24,
    "num_classes": 5,
    "embed_dim": 8,
    "depths": [2, 1],
    "num_heads": [1, 2],
    "window_size": 3,
    "focal_levels": [2, 2],
    "focal_windows": [3, 1],
    "expand_sizes": [1, 1],
}


def official(**changes):
    torch.manual_seed(0)
    return build_official({**SMALL, **changes})


def blocks_with_expansion(model):
    return [
        [hasattr(block.attn, "relative_position_bias_table_to_neighbors") for block in stage.blocks]
        for stage in model.layers
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"ape": True},
        {"patch_norm": False},
        {"use_shift": True},
        {"use_checkpoint": True},
        {"focal_pool": "none"},
        {"focal_pool": "conv"},
        {"focal_pool": "mean", "focal_levels": [3, 1]},
        {"focal_pool": "max"},
        {"expand_layer": "even"},
        {"expand_sizes": [0, 0]},
        {"use_conv_embed": True, "use_pre_norm": True},
        {"use_layerscale": True, "layerscale_value": 0.3},
        {"qk_scale": 0.2, "qkv_bias": False},
        {"img_size": [24, 32], "window_size": 4},
        {"img_size": 36, "focal_stages": [1], "expand_stages": [0]},
        {"focal_topK": 5},
        {"focal_topK": 5, "focal_levels": [3, 2]},
        {"in_chans": 1},
    ],
    ids=str,
)
def test_every_option_trains(changes):
    model = official(**changes).train()
    height, width = model.img_size
    model(torch.randn(2, model.in_chans, height, width)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_arguments_not_given_have_the_released_defaults():
    with torch.device("meta"):
        model = build_official({})
    assert sum(parameter.numel() for parameter in model.parameters()) == 28_880_380


def test_expand_layer_selects_the_blocks_without_expansion():
    # The second stage's map is 3 x 3, a single window, so it has no expansion.
    assert blocks_with_expansion(official()) == [[True, True], [False]]
    assert blocks_with_expansion(official(expand_layer="odd")) == [[True, False], [False]]
    assert blocks_with_expansion(official(expand_layer="even")) == [[False, True], [False]]


def test_pooled_keys_only_in_focal_stages():
    stages = official(focal_stages=[1]).layers
    assert [len(stage.blocks[0].pool_layers) for stage in stages] == [0, 1]


def test_qk_scale_is_the_factor_of_the_logits():
    """With a scale of 0 the logits are the position biases, so queries and keys have no effect."""
    model = official(qk_scale=1e-30).eval()
    image = torch.randn(1, 3, 24, 24)
    before = model(image)
    for stage in model.layers:
        for block in stage.blocks:
            torch.nn.init.normal_(block.attn.qkv.weight[: 2 * block.attn.qkv.in_features].detach())
    torch.testing.assert_close(model(image), before)


def test_nearest_keys_ignore_the_expansion():
    names = {name for name, _ in official(focal_topK=4).named_parameters()}
    assert names == {name for name, _ in official(focal_topK=4, expand_sizes=[0, 0]).named_parameters()}


def refusal(action):
    with pytest.raises(SpecError) as caught:
        action()
    return str(caught.value)


def test_unknown_arguments_are_named():
    first, *hint = refusal(lambda: official(focal_widnows=[3, 1])).splitlines()
    assert first == "focal_transformer: unknown argument 'focal_widnows'"
    assert " ".join(" ".join(hint).split()).endswith("Did you mean 'focal_windows'?")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"focal_windows": [4, 1]},
            "stage 0: focal_window must be odd, but got 4\n"
            "  an even window of cells has no centre; choose 1, 3, 5, ...",
        ),
        (
            {"num_heads": [3, 5]},
            "stage 0: dim % num_heads == 0 must hold, but got dim=8, num_heads=3\n"
            "  for 8 choose num_heads from 1, 2, 4, 8\n"
            "stage 1: dim % num_heads == 0 must hold, but got dim=16, num_heads=5\n"
            "  for 16 choose num_heads from 1, 2, 4, 8, 16",
        ),
        (
            {"focal_levels": [4, 2]},
            "stage 0: focal_level=4 splits a window of 3 tokens into empty cells\n"
            "  the highest level for this window is 3",
        ),
        (
            {"expand_sizes": [4, 1]},
            "stage 0: 0 <= expand_size <= window_size must hold, but got 4 and 3\n  0 turns the expansion off",
        ),
        (
            {"img_size": 4},
            "stage 1: the map would have 0x0 tokens\n  choose a larger img_size or fewer stages",
        ),
        (
            {"img_size": 32, "focal_topK": 4},
            "stage 0: the nearest-keys attention needs windows that tile the map, "
            "but got window_size=3 for 8x8 tokens\n"
            "  choose img_size or window_size so that every map is a multiple of the window\n"
            "stage 1: the nearest-keys attention needs windows that tile the map, "
            "but got window_size=3 for 4x4 tokens\n"
            "  choose img_size or window_size so that every map is a multiple of the window",
        ),
        (
            {"focal_windows": [3]},
            "focal_windows has 1 values, but depths has 2 stages\n"
            "  write one value per stage, or one number for all; got focal_windows=[3]",
        ),
        (
            {"focal_pool": "men"},
            "unknown focal_pool 'men'\n  known: conv, fc, max, mean, none.  Did you mean 'mean'?",
        ),
        (
            {"use_conv_embed": True, "patch_size": 2},
            "focal_transformer: use_conv_embed needs patch_size=4, but got 2\n"
            "  the released convolutional stem has stride 4, independent of patch_size",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_invalid_arguments_are_refused_with_a_reason(changes, message):
    assert refusal(lambda: official(**changes)) == message


def released(model):
    """State dict as released: with the index buffers that follow from the sizes, and coordinates per query."""
    state = dict(model.state_dict())
    for name, attn in model.named_modules():
        if hasattr(attn, "slot_index"):
            state[f"{name}.relative_position_index"] = attn.relative_position_index
            state[f"{name}.relative_position_index_0"] = attn.relative_position_index_0
    return state


def test_index_buffers_are_not_needed_and_not_kept():
    model = official()
    mapped = official_state(released(model), model)
    assert set(mapped) == set(model.state_dict())
    assert set(official_state(model.state_dict(), model)) == set(mapped)


def test_keys_of_a_wrong_state_are_named():
    model = official()
    state = released(model)
    del state["norm.bias"]
    state["layers.0.blocks.0.attn.qkv.wieght"] = torch.zeros(1)
    state["head.weight"] = torch.zeros(6, 16)
    index = "layers.0.blocks.0.attn.relative_position_index_0"
    state[index] = torch.zeros(9, 4)
    assert refusal(lambda: official_state(state, model)).splitlines() == [
        "focal_transformer: key 'norm.bias' is missing from the state",
        "focal_transformer: key 'head.weight' must have shape (5, 16), but has (6, 16)",
        f"focal_transformer: key '{index}' must have shape (9, 9), but has (9, 4)",
        "focal_transformer: unexpected key 'layers.0.blocks.0.attn.qkv.wieght' in the state",
        "  Did you mean 'layers.0.blocks.0.attn.qkv.weight'?",
    ]


def test_a_released_checkpoint_is_unwrapped():
    model = official()
    unwrapped = released_state({"model": released(model), "epoch": 3}, model)
    assert set(unwrapped) == set(model.state_dict())


def released_with_tables(model, order):
    """The state of version 2 as released: its tables of nearest keys, in this order, with coordinates per query."""
    state = dict(model.state_dict())
    for key in [key for key in state if ".nearest_index_" in key]:
        state[key.replace("nearest_index", "topk_cloest_indice")] = state.pop(key)[:, order]
        to_centre = state.pop(key.replace("index", "to_centre"))[:, order]
        # From the window's centre to its 3 x 3 tokens, row by row.
        from_centre = torch.tensor([[row, column] for row in (-1, 0, 1) for column in (-1, 0, 1)])
        coordinates = to_centre[:, None] + from_centre[:, None]
        state[key.replace("nearest_index", "topk_cloest_coords")] = coordinates
    return state


def test_tables_of_nearest_keys_are_taken_from_the_state():
    """Keys that are equally near are ordered as in the state, which need not be our order."""
    model = official(focal_topK=4, focal_levels=[2, 1], depths=[1, 1])
    order = [0, 3, 1, 2]
    state = released_with_tables(model, order)
    mapped = official_state(state, model)
    own = model.state_dict()
    tables = [key for key in own if ".nearest_" in key]
    assert len(tables) == 6
    for key in tables:
        assert torch.equal(mapped[key], own[key][:, order])
    key = "layers.0.blocks.0.attn.topk_cloest_indice_0"
    assert refusal(lambda: official_state({**state, key: state[key] + 36}, model)) == (
        f"focal_transformer: key '{key}' has positions outside of 0 .. 35"
    )


def test_parts_are_keyword_arguments():
    """A single number applies to all stages; a window without surroundings and pooled keys attends to itself only."""
    model = FocalTransformer(
        24, embed_dim=8, depths=(1, 1), num_heads=1, window_size=3, focal_levels=1, focal_windows=1, expand_sizes=0
    )
    assert [tuple(stage.blocks[0].attn.slot_index.shape) for stage in model.layers] == [(4, 9), (1, 9)]
