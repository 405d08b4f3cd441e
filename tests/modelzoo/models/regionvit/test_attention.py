"""Comparison of a RegionViT stage with loops over tokens in float64, from the equations, without windows or tensors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from modelzoo.models.regionvit.attention import RegionalToLocalAttention, padding_mask
from modelzoo.models.regionvit.blocks import RegionViTStage

DIM, HEADS, WINDOW = 4, 2, 3


def randomised(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module.double().eval()


def attend(attn, queries, keys, bias, allowed):
    """Outputs of `queries` over `keys`; bias(head, i, j) and allowed(i, j) by index."""
    weight, qkv_bias = attn.qkv.weight, attn.qkv.bias
    parts = [weight[n * DIM : (n + 1) * DIM] for n in range(3)]
    offsets = [qkv_bias[n * DIM : (n + 1) * DIM] for n in range(3)]
    q, k, v = ([part @ x + offset for x in keys] for part, offset in zip(parts, offsets, strict=True))
    size = DIM // HEADS
    answers = []
    for i in range(len(queries)):
        heads = []
        for head in range(HEADS):
            span = slice(head * size, (head + 1) * size)
            logits = [
                float(q[i][span] @ k[j][span]) / math.sqrt(size) + bias(head, i, j) if allowed(i, j) else None
                for j in range(len(keys))
            ]
            if all(logit is None for logit in logits):
                logits = [0.0] * len(logits)
            powers = [0.0 if logit is None else math.exp(logit) for logit in logits]
            heads.append(sum(p / sum(powers) * v[j][span] for j, p in enumerate(powers)))
        answers.append(attn.proj.weight @ torch.cat(heads) + attn.proj.bias)
    return answers


def norm(layer, x):
    return (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + 1e-6) * layer.weight + layer.bias


def mlp(layer, x):
    hidden = layer.fc1.weight @ x + layer.fc1.bias
    return layer.fc2.weight @ (hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))) + layer.fc2.bias


def naive_block(block, regional, local, size, corner):
    """Block on regional[(row, column)] and local[(y, x)], the latter with padding."""
    rows, columns = 1 + max(r for r, _ in regional), 1 + max(c for _, c in regional)
    places = sorted(regional)
    normed = [norm(block.norm0, regional[place]) for place in places]
    exchanged = attend(block.attn, normed, normed, lambda *_: 0.0, lambda *_: True)
    regional = {place: regional[place] + answer for place, answer in zip(places, exchanged, strict=True)}
    new_regional, new_local = {}, {}
    side = 2 * WINDOW - 1
    for row, column in places:
        inside = [(row * WINDOW + y, column * WINDOW + x) for y in range(WINDOW) for x in range(WINDOW)]
        tokens = [regional[row, column], *(local[place] for place in inside)]

        def bias(head, i, j, inside=inside):
            if i == 0 or j == 0:
                return 0.0
            down, right = (inside[j - 1][axis] - inside[i - 1][axis] + WINDOW // 2 for axis in range(2))
            # A negative index counts from the end of the list, which is the modulo of the definition.
            table = block.attn.rel_pos[head].reshape(side, side).tolist()
            return table[down][right]

        def allowed(i, j, inside=inside, row=row, column=column):
            def both(axis):
                return all(n == 0 or inside[n - 1][axis] < size[axis] for n in (i, j))

            is_corner = (row, column) == (rows - 1, columns - 1)
            return (both(0) or both(1)) if corner == "union" and is_corner else (both(0) and both(1))

        normed = [norm(block.norm1, token) for token in tokens]
        answers = attend(block.attn, normed, normed, bias, allowed)
        tokens = [token + answer for token, answer in zip(tokens, answers, strict=True)]
        tokens = [token + mlp(block.mlp, norm(block.norm2, token)) for token in tokens]
        new_regional[row, column] = tokens[0]
        new_local |= dict(zip(inside, tokens[1:], strict=True))
    return new_regional, new_local


@pytest.mark.parametrize("corner", ["union", "intersection"])
@pytest.mark.parametrize("size", [(6, 6), (5, 4), (6, 5), (2, 3)])
def test_stage_equals_loops_over_tokens(size, corner):
    stage = RegionViTStage(
        DIM,
        DIM,
        HEADS,
        WINDOW,
        drop_path=[0.0, 0.0],
        downsampling="c",
        regional=True,
        share_projection=True,
        peg=False,
        corner=corner,
        mlp_ratio=2,
    )
    randomised(stage)
    rows, columns = math.ceil(size[0] / WINDOW), math.ceil(size[1] / WINDOW)
    regional_map, local_map = torch.randn(1, DIM, rows, columns).double(), torch.randn(1, DIM, *size).double()
    regional = {(r, c): regional_map[0, :, r, c] for r in range(rows) for c in range(columns)}
    nothing = torch.zeros(DIM, dtype=torch.float64)
    local = {
        (y, x): local_map[0, :, y, x] if y < size[0] and x < size[1] else nothing
        for y in range(rows * WINDOW)
        for x in range(columns * WINDOW)
    }
    with torch.no_grad():
        for block in list(stage.block)[1:]:
            regional, local = naive_block(block, regional, local, size, corner)
        got_regional, got_local = stage(regional_map, local_map)
    want_regional = torch.stack([regional[r, c] for r in range(rows) for c in range(columns)], dim=1)
    want_local = torch.stack([local[y, x] for y in range(size[0]) for x in range(size[1])], dim=1)
    torch.testing.assert_close(got_regional[0].flatten(1), want_regional, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(got_local[0].flatten(1), want_local, atol=1e-10, rtol=1e-10)


def test_corner_of_a_map_that_fills_one_axis_is_unmasked_by_union_only():
    """Derived by hand: one 2 x 2 window over a 1 x 2 map; its second row is padding, its columns are not."""
    masks = {
        corner: padding_mask((1, 2), (1, 1), 2, num_regional=1, corner=corner, device=torch.device("cpu"))
        for corner in ("union", "intersection")
    }
    inside = torch.tensor([True, True, True, False, False])
    assert masks["union"].all()
    assert torch.equal(masks["intersection"][0], inside[:, None] & inside[None])


def test_map_that_fills_its_windows_has_no_mask():
    assert padding_mask((4, 6), (2, 3), 2, num_regional=1, corner="union", device=torch.device("cpu")) is None


def test_fused_and_explicit_attention_agree():
    attn = randomised(RegionalToLocalAttention(DIM, HEADS, WINDOW))
    x = torch.randn(3, 1 + WINDOW**2, DIM).double()
    answers = []
    for is_fused in (True, False):
        attn.fused_attn = is_fused
        answers.append(attn(x, in_windows=True))
    torch.testing.assert_close(*answers, atol=1e-12, rtol=1e-12)


def test_position_table_is_used_completely():
    """The circular index of a window covers every entry of the table: its gradient has no zeros."""
    attn = randomised(RegionalToLocalAttention(DIM, HEADS, WINDOW))
    attn(torch.randn(2, 1 + WINDOW**2, DIM).double(), in_windows=True).square().sum().backward()
    assert (attn.rel_pos.grad != 0).all()
