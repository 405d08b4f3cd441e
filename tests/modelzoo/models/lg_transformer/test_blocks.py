"""Comparison of local-to-global attention with loops over tokens in float64, from its definition."""

from __future__ import annotations

import math

import pytest
import torch

from modelzoo.models.lg_transformer.blocks import LocalToGlobalBlock, shift_mask

DIM, HEADS = 4, 2


def window_attention(attn, tokens, size, window, shift):
    """Window attention of tokens[(y, x)]; windows are those of the grid rolled by `shift`, wrapped pairs are masked."""
    q, k, v = (
        {
            p: attn.qkv.weight[n * DIM : (n + 1) * DIM] @ t + attn.qkv.bias[n * DIM : (n + 1) * DIM]
            for p, t in tokens.items()
        }
        for n in range(3)
    )

    def window_of(place):
        return tuple((place[a] - shift[a]) % size[a] // window[a] for a in range(2))

    def has_rolled(place):
        return tuple(place[a] < shift[a] for a in range(2))

    answers = {}
    head_dim = DIM // HEADS
    for i in tokens:
        seen = [j for j in tokens if window_of(i) == window_of(j) and has_rolled(i) == has_rolled(j)]
        heads = []
        for head in range(HEADS):
            span = slice(head * head_dim, (head + 1) * head_dim)
            weights = []
            for j in seen:
                dy, dx = i[0] - j[0], i[1] - j[1]
                entry = (dy + window[0] - 1) * (2 * window[1] - 1) + dx + window[1] - 1
                bias = float(attn.relative_position_bias_table[entry, head])
                weights.append(math.exp(float(q[i][span] @ k[j][span]) / math.sqrt(head_dim) + bias))
            heads.append(sum(w / sum(weights) * v[j][span] for w, j in zip(weights, seen, strict=True)))
        answers[i] = attn.proj.weight @ torch.cat(heads) + attn.proj.bias
    return answers


def cell_means(tokens, size, reduction):
    means = {}
    for y in range(math.ceil(size[0] / reduction)):
        for x in range(math.ceil(size[1] / reduction)):
            cell = [t for p, t in tokens.items() if (p[0] // reduction, p[1] // reduction) == (y, x)]
            means[y, x] = sum(cell) / len(cell)
    return means


def bilinear(tokens, small, large):
    """Bilinear interpolation between pixel centres; outside of the outermost centres, the nearest value."""

    def weights(place, axis):
        position = max((place + 0.5) * small[axis] / large[axis] - 0.5, 0.0)
        low = min(int(position), small[axis] - 1)
        high = min(low + 1, small[axis] - 1)
        return [(low, 1 - (position - low)), (high, position - low)]

    return {
        (y, x): sum(wy * wx * tokens[py, px] for py, wy in weights(y, 0) for px, wx in weights(x, 1))
        for y in range(large[0])
        for x in range(large[1])
    }


def norm(layer, x):
    return (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + 1e-5) * layer.weight + layer.bias


@pytest.mark.parametrize("shift", [(0, 0), (1, 1)])
@pytest.mark.parametrize("fusion", ["sum", "concat"])
@pytest.mark.parametrize("shift_paths", ["local", "all", "none"])
def test_block_equals_loops_over_tokens(shift, fusion, shift_paths):
    size, window, reductions = (8, 4), (2, 2), (1, 2, 4)
    block = LocalToGlobalBlock(
        DIM,
        size,
        HEADS,
        window,
        reductions=reductions,
        shift=shift,
        shift_paths=shift_paths,
        fusion=fusion,
        mlp_ratio=2,
    ).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in block.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    image = torch.randn(1, *size, DIM, dtype=torch.float64)
    grid = {(y, x): image[0, y, x] for y in range(size[0]) for x in range(size[1])}
    # Grids 8x4, 4x2 and 2x1: an axis with a single window is never shifted.
    fitted = [((8, 4), (2, 2), (1, 1)), ((4, 2), (2, 2), (1, 0)), ((2, 1), (2, 1), (0, 0))]
    with torch.no_grad():
        normed = {place: norm(block.norm1, token) for place, token in grid.items()}
        answers = []
        attentions = [block.attn, *block.coarse_attn]
        for attn, reduction, (small, fits, moves) in zip(attentions, reductions, fitted, strict=True):
            moved = shift_paths != "none" and (reduction == 1 or shift_paths == "all")
            by = tuple(s * m * moved for s, m in zip(shift, moves, strict=True))
            answer = window_attention(attn, cell_means(normed, size, reduction), small, fits, by)
            answers.append(bilinear(answer, small, size))
        want = {}
        for place, token in grid.items():
            parts = [answer[place] for answer in answers]
            fused = sum(parts) if fusion == "sum" else block.fuse.weight @ torch.cat(parts) + block.fuse.bias
            token = token + fused
            hidden = block.mlp.fc1.weight @ norm(block.norm2, token) + block.mlp.fc1.bias
            hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
            want[place] = token + block.mlp.fc2.weight @ hidden + block.mlp.fc2.bias
        got = block(image)[0]
    # Masked pairs contribute exp(-100) in the model and nothing in the loops.
    torch.testing.assert_close(got.flatten(0, 1), torch.stack(list(want.values())), atol=1e-9, rtol=1e-9)


def test_cells_beyond_the_grid_average_only_tokens_inside():
    """Equal tokens have equal means in all cells, also in the partial cells of a 5 x 7 grid, and so equal outputs."""
    block = LocalToGlobalBlock(DIM, (5, 7), HEADS, (2, 2), reductions=(4,)).double()
    tokens = torch.randn(DIM, dtype=torch.float64).expand(1, 5, 7, DIM)
    out = block(tokens)
    assert not torch.allclose(out, tokens)
    torch.testing.assert_close(out, out[:, :1, :1].expand_as(out))


def test_mask_of_a_shifted_line_of_windows_by_hand():
    """Four tokens in a row, windows of two, shifted by one: 1 2 | 3 0. Only 3 and 0 were not neighbours."""
    mask = shift_mask((1, 4), (1, 2), (0, 1), device=torch.device("cpu"), dtype=torch.float32)
    assert mask.tolist() == [[[0, 0], [0, 0]], [[0, -100], [-100, 0]]]
