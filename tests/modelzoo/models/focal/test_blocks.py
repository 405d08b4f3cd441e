"""Comparison of the focal block with loops over single queries and keys in float64, from the definition of the keys."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from modelzoo.models.focal.blocks import FocalBlock
from modelzoo.models.focal.checks import StageOptions
from modelzoo.models.focal.windows import nearest_slots

DIM, HEADS, WINDOW, FOCAL_WINDOW = 4, 2, 3, 3


def small_block(*, grid, focal_level, focal_pool="fc", expand_size=1, shift=False):
    torch.manual_seed(1)
    options = StageOptions(
        grid=grid,
        dim=DIM,
        num_heads=HEADS,
        window_size=WINDOW,
        mlp_ratio=2.0,
        qkv_bias=True,
        qk_scale=None,
        proj_drop=0.0,
        attn_drop=0.0,
        focal_level=focal_level,
        focal_window=FOCAL_WINDOW,
        focal_pool=focal_pool,
        expand_size=expand_size,
        expand_layer="all",
        shift=shift,
        num_nearest_keys=None,
        layerscale_value=0.5,
    )
    block = FocalBlock(options, index=1, drop_path=0.0).double().eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return block


def pooled_cell(block, padded, level, row, column):
    """One pooled token, from the pixels of its cell."""
    side = WINDOW // 2**level
    height, width, _ = padded.shape
    top = (height - height // WINDOW * 2**level * side) // 2
    left = (width - width // WINDOW * 2**level * side) // 2
    pixels = [
        padded[top + row * side + u, left + column * side + v] for u, v in itertools.product(range(side), repeat=2)
    ]
    state = {name: parameter.detach() for name, parameter in block.pool_layers[level].named_parameters()}
    if not state:
        stacked = torch.stack(pixels)
        return stacked.mean(0) if "Mean" in type(block.pool_layers[level]).__name__ else stacked.max(0).values
    if state["weight"].dim() == 2:
        return sum(weight * pixel for weight, pixel in zip(state["weight"][0], pixels, strict=True)) + state["bias"]
    weights = state["weight"].reshape(DIM, -1).T
    return sum(weight * pixel for weight, pixel in zip(weights, pixels, strict=True)) + state["bias"]


def reference_attention(block, x_HWC, *, focal_level, expand_size, shift):
    """Attention of one map, query by query, in the order and with the quirks of the released model."""
    state = {name: parameter.detach() for name, parameter in block.attn.named_parameters()}
    height, width, _ = x_HWC.shape
    rows, columns = math.ceil(height / WINDOW) * WINDOW, math.ceil(width / WINDOW) * WINDOW
    padded = torch.zeros(rows, columns, DIM, dtype=torch.float64)
    padded[:height, :width] = x_HWC
    moved = torch.stack([torch.stack([padded[(i + shift) % rows, (j + shift) % columns] for j in range(columns)])
                         for i in range(rows)])  # fmt: skip

    def qkv(token):
        return (state["qkv.weight"] @ token + state["qkv.bias"]).split(DIM)

    def region(position, size):
        return 0 if position < size - WINDOW else 1 if position < size - shift else 2

    out = torch.zeros_like(moved)
    channels = DIM // HEADS
    for y, x in itertools.product(range(rows), range(columns)):
        wy, wx, i, j = y // WINDOW, x // WINDOW, y % WINDOW, x % WINDOW
        query = qkv(moved[y, x])[0]
        keys = []  # (key, value, bias per head)
        for a, b in itertools.product(range(WINDOW), repeat=2):
            ky, kx = wy * WINDOW + a, wx * WINDOW + b
            bias = state["relative_position_bias_table"][
                (i - a + WINDOW - 1) * (2 * WINDOW - 1) + (j - b + WINDOW - 1)
            ].clone()
            if shift and (region(y, rows), region(x, columns)) != (region(ky, rows), region(kx, columns)):
                bias -= 100
            keys.append((*qkv(moved[ky, kx])[1:], bias))
        if expand_size:
            table = state["relative_position_bias_table_to_neighbors"][0, :, i * WINDOW + j]
            slot = 0
            for sy, sx in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                for a, b in itertools.product(range(WINDOW), repeat=2):
                    inside_y = 0 <= a + sy * expand_size < WINDOW
                    inside_x = 0 <= b + sx * expand_size < WINDOW
                    if inside_y and inside_x:
                        continue
                    token = moved[
                        (wy * WINDOW + a + sy * expand_size) % rows, (wx * WINDOW + b + sx * expand_size) % columns
                    ]
                    keys.append((*qkv(token)[1:], table[:, slot]))
                    slot += 1
        for level in range(focal_level - 1):
            side = FOCAL_WINDOW + 2**level - 1
            table = state[f"relative_position_bias_table_to_windows.{level}"]
            for a, b in itertools.product(range(side), repeat=2):
                row, column = wy * 2**level - FOCAL_WINDOW // 2 + a, wx * 2**level - FOCAL_WINDOW // 2 + b
                bias = table[:, (i - a + side - 1) * (WINDOW + side - 1) + (j - b + side - 1)]
                if 0 <= row < rows // WINDOW * 2**level and 0 <= column < columns // WINDOW * 2**level:
                    keys.append((*qkv(pooled_cell(block, moved, level, row, column))[1:], bias))
                else:
                    keys.append((torch.zeros(DIM).double(), torch.zeros(DIM).double(), bias - 100))
        for head in range(HEADS):
            part = slice(head * channels, (head + 1) * channels)
            logits = [(query[part] @ key[part]) / math.sqrt(channels) + bias[head] for key, _, bias in keys]
            weights = torch.stack(logits).softmax(0)
            out[y, x, part] = sum(weight * value[part] for weight, (_, value, _) in zip(weights, keys, strict=True))
        out[y, x] = state["proj.weight"] @ out[y, x] + state["proj.bias"]
    back = torch.stack([torch.stack([out[(i - shift) % rows, (j - shift) % columns] for j in range(columns)])
                        for i in range(rows)])  # fmt: skip
    return back[:height, :width]


@pytest.mark.parametrize(
    ("grid", "focal_level", "focal_pool", "expand_size", "shift"),
    [
        ((6, 6), 1, "fc", 0, False),
        ((6, 6), 2, "fc", 1, False),
        ((5, 7), 2, "fc", 1, False),
        ((5, 7), 3, "fc", 2, False),
        ((6, 6), 3, "conv", 1, False),
        ((6, 6), 2, "mean", 0, False),
        ((4, 6), 3, "max", 1, False),
        ((6, 9), 2, "fc", 1, True),
        ((5, 6), 1, "none", 3, True),
    ],
)
def test_block_equals_loops_over_queries_and_keys(grid, focal_level, focal_pool, expand_size, shift):
    block = small_block(grid=grid, focal_level=focal_level, focal_pool=focal_pool, expand_size=expand_size, shift=shift)
    x_HWC = torch.randn(*grid, DIM, dtype=torch.float64)
    attended = reference_attention(
        block,
        block.norm1(x_HWC).detach(),
        focal_level=1 if focal_pool == "none" else focal_level,
        expand_size=expand_size,
        shift=WINDOW // 2 if shift else 0,
    )
    middle = x_HWC + block.gamma_1 * attended
    want = middle + block.gamma_2 * block.mlp(block.norm2(middle))
    torch.testing.assert_close(block(x_HWC[None])[0], want, atol=1e-10, rtol=1e-10)


def test_a_map_no_larger_than_a_window_is_one_window():
    """3 x 3 tokens and window 3: expansion and shift have no effect."""
    asked = small_block(grid=(3, 3), focal_level=2, expand_size=1, shift=True)
    plain = small_block(grid=(3, 3), focal_level=2, expand_size=0, shift=False)
    plain.load_state_dict(asked.state_dict())
    x = torch.randn(1, 3, 3, DIM, dtype=torch.float64)
    torch.testing.assert_close(asked(x), plain(x), atol=0, rtol=0)


def test_one_image_does_not_see_another():
    block = small_block(grid=(6, 6), focal_level=3)
    images = torch.randn(2, 6, 6, DIM, dtype=torch.float64)
    changed = images.clone()
    changed[1] += 1
    torch.testing.assert_close(block(changed)[0], block(images)[0], atol=0, rtol=0)


@pytest.mark.parametrize("grid", [(6, 6), (6, 9)])
def test_nearest_keys_are_the_nearest(grid):
    """No omitted key is nearer to the window's centre than a chosen one, and the distances are those of the keys."""
    num_windows = (grid[0] // WINDOW, grid[1] // WINDOW)
    index, to_centre = nearest_slots(grid, num_windows, WINDOW, 10)
    for window, (taken, distances) in enumerate(zip(index.tolist(), to_centre.tolist(), strict=True)):
        centre = (window // num_windows[1] * WINDOW + 1, window % num_windows[1] * WINDOW + 1)
        away = {key: (centre[0] - key // grid[1], centre[1] - key % grid[1]) for key in range(grid[0] * grid[1])}
        assert [list(map(float, away[key])) for key in taken] == distances
        assert len(set(taken)) == 10
        left_out = [math.hypot(*away[key]) for key in away if key not in taken]
        assert max(math.hypot(*away[key]) for key in taken) <= min(left_out)
