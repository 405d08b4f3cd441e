"""Comparison of each mechanism with its equations, as loops over images, heads, tokens and pixels in float64.

The references below share no code with the zoo: numpy, scalars and indices only. They cover cases that are missing from
the golden cases: prefix tokens, grids that are not square, even kernels, fractional expansion, no reduction.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from modelzoo import ATTENTION, Slot
from modelzoo.attention.refiner import MapSharingAttention

DIM, BATCH = 24, 2


def randomised(name: str, slot: Slot, *, training: bool, **options):
    """Mechanism in float64 with random parameters and statistics, and its state as arrays."""
    module = ATTENTION[name](slot, **options).double().train(training)
    return module, randomise(module)


def randomise(module: torch.nn.Module) -> dict[str, np.ndarray]:
    generator = torch.Generator().manual_seed(7)
    for key, value in module.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator, dtype=torch.float64)
            value.copy_(noise + 0.5 if key.endswith("running_var") else noise - 0.4)
    return {key: value.clone().numpy() for key, value in module.state_dict().items()}


def tokens(num_tokens: int) -> torch.Tensor:
    return torch.randn(BATCH, num_tokens, DIM, generator=torch.Generator().manual_seed(8), dtype=torch.float64)


def linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def softmax(row):
    exps = [math.exp(value - max(row)) for value in row]
    return np.array(exps) / sum(exps)


def batch_norm(maps, state, name, *, training, statistics_of=None):
    """BatchNorm of (B, C, ...): with batch statistics in training, with running statistics otherwise."""
    out = np.empty_like(maps)
    for channel in range(maps.shape[1]):
        if training:
            source = (maps if statistics_of is None else statistics_of)[:, channel]
            mean, var = source.mean(), source.var()
        else:
            mean, var = state[f"{name}.running_mean"][channel], state[f"{name}.running_var"][channel]
        out[:, channel] = (maps[:, channel] - mean) / math.sqrt(var + 1e-5) * state[f"{name}.weight"][channel]
        out[:, channel] += state[f"{name}.bias"][channel]
    return out


def convolve(image, kernel):
    """Zero-padded convolution of one image; an even kernel extends one pixel further down and right."""
    (height, width), (side, _) = image.shape, kernel.shape
    before, out = (side - 1) // 2, np.zeros_like(image)
    for i in range(height):
        for j in range(width):
            for a in range(side):
                for b in range(side):
                    row, column = i + a - before, j + b - before
                    if 0 <= row < height and 0 <= column < width:
                        out[i, j] += kernel[a, b] * image[row, column]
    return out


def mix(maps, weight):
    """1x1 convolution: every returned map is a weighted sum of all incoming ones."""
    out = np.zeros((maps.shape[0], weight.shape[0], *maps.shape[2:]))
    for returned in range(weight.shape[0]):
        for incoming in range(weight.shape[1]):
            out[:, returned] += weight[returned, incoming, 0, 0] * maps[:, incoming]
    return out


def softmax_maps(x, state, num_heads):
    """Softmax maps (B, H, N, N), and v (B, N, D)."""
    B, N, D = x.shape
    width = D // num_heads
    q, k, v = np.split(linear(x, state, "qkv"), 3, axis=-1)
    maps = np.empty((B, num_heads, N, N))
    for b in range(B):
        for h in range(num_heads):
            part = slice(h * width, (h + 1) * width)
            for n in range(N):
                maps[b, h, n] = softmax([float(q[b, n, part] @ k[b, m, part]) / math.sqrt(width) for m in range(N)])
    return maps, v


def weigh(maps, v):
    """Product of every map with its own slice of v, concatenated."""
    B, M, N, _ = maps.shape
    width, out = v.shape[-1] // M, np.zeros_like(v)
    for b in range(B):
        for m in range(M):
            for n in range(N):
                for other in range(N):
                    part = slice(m * width, (m + 1) * width)
                    out[b, n, part] += maps[b, m, n, other] * v[b, other, part]
    return out


def expect_equal(module, x, want):
    # Tolerance: sums of a few hundred float64 terms in a different order.
    np.testing.assert_allclose(module(x).detach().numpy(), want, rtol=1e-10, atol=1e-10)


def test_softmax():
    module, state = randomised("softmax", Slot(dim=DIM, num_heads=3), training=False)
    x = tokens(7)
    maps, v = softmax_maps(x.numpy(), state, 3)
    expect_equal(module, x, linear(weigh(maps, v), state, "proj"))


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("transform_scale", [False, True])
@pytest.mark.parametrize("theta_bias", [False, True])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_reattention(training, transform_scale, theta_bias, norm):
    slot = Slot(dim=DIM, num_heads=3)
    options = {"transform_scale": transform_scale, "theta_bias": theta_bias, "norm": norm}
    module, state = randomised("reattention", slot, training=training, **options)
    x = tokens(7)
    maps, v = softmax_maps(x.numpy(), state, 3)
    maps = mix(maps, state["reatten_matrix.weight"])
    assert ("reatten_matrix.bias" in state) is theta_bias
    if theta_bias:
        maps = maps + state["reatten_matrix.bias"][:, None, None]
    if norm == "batch":
        maps = batch_norm(maps, state, "var_norm", training=training)
    elif norm == "layer":
        maps = head_layer_norm(maps, state, "var_norm")
    if transform_scale:
        maps = maps / math.sqrt(8)
    expect_equal(module, x, linear(weigh(maps, v), state, "proj"))


def head_layer_norm(maps, state, name):
    """Normalise over the heads to mean 0 and variance 1, for every pair of tokens, then apply a gain per head."""
    out = np.empty_like(maps)
    for b, n, m in np.ndindex(maps.shape[0], *maps.shape[2:]):
        column = maps[b, :, n, m]
        out[b, :, n, m] = (column - column.mean()) / math.sqrt(column.var() + 1e-5)
        out[b, :, n, m] = out[b, :, n, m] * state[f"{name}.weight"] + state[f"{name}.bias"]
    return out


def test_reattention_starts_as_softmax_attention_at_the_identity_without_norm():
    module = ATTENTION["reattention"](Slot(dim=DIM, num_heads=3), theta_init="identity", norm="none").double()
    state = {key: value.numpy() for key, value in module.state_dict().items()}
    assert state["reatten_matrix.weight"][:, :, 0, 0].tolist() == np.eye(3).tolist()
    assert state["reatten_matrix.bias"].tolist() == [0, 0, 0]
    x = tokens(7)
    maps, v = softmax_maps(x.numpy(), state, 3)
    expect_equal(module, x, linear(weigh(maps, v), state, "proj"))


def test_reattention_starts_random_by_torchs_convolution_default():
    torch.manual_seed(3)
    theta = ATTENTION["reattention"](Slot(dim=192, num_heads=48)).reatten_matrix
    # U(-1/sqrt(H), 1/sqrt(H)) has this standard deviation; 2304 draws estimate it within about 2 %.
    assert theta.weight.abs().max() <= 1 / math.sqrt(48)
    assert theta.weight.std().item() == pytest.approx(1 / math.sqrt(48) / math.sqrt(3), rel=0.05)
    assert 0 < theta.bias.abs().max() <= 1 / math.sqrt(48)


def test_norm_momentum_is_the_weight_of_the_newest_batch():
    module = ATTENTION["reattention"](Slot(dim=DIM, num_heads=3), norm_momentum=0.25).double()
    x = tokens(7)
    state = {key: value.clone().numpy() for key, value in module.state_dict().items()}
    module(x)
    maps, _ = softmax_maps(x.numpy(), state, 3)
    maps = mix(maps, state["reatten_matrix.weight"]) + state["reatten_matrix.bias"][:, None, None]
    np.testing.assert_allclose(module.var_norm.running_mean, 0.25 * maps.mean(axis=(0, 2, 3)), rtol=1e-10)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(
    ("expansion", "kernel_size", "reduction", "identity"),
    [
        (3, 3, True, True),
        (1, 3, True, True),
        (1.5, 2, True, True),
        (0.5, 4, True, True),
        (1.5, 2, True, False),
        (1, 3, True, False),
        (2, 3, False, True),
        (1.5, 2, False, True),
        (1, 1, False, True),
    ],
)
def test_refiner(training, expansion, kernel_size, reduction, identity):
    slot = Slot(dim=DIM, num_heads=4)
    options = {"expansion": expansion, "kernel_size": kernel_size, "reduction": reduction, "identity": identity}
    module, state = randomised("refiner", slot, training=training, **options)
    x = tokens(5)
    maps, v = softmax_maps(x.numpy(), state, 4)
    incoming = maps
    if expansion != 1:
        maps = batch_norm(mix(maps, state["DLA.conv_exp.weight"]), state, "DLA.bn1", training=training).clip(0, 6)
    kernels = state["DLA.depth_sep_conv.weight"][:, 0]
    assert kernels.shape == (int(4 * expansion), kernel_size, kernel_size)
    maps = np.array([[convolve(one, kernel) for one, kernel in zip(image, kernels, strict=True)] for image in maps])
    maps = batch_norm(maps, state, "DLA.bn2", training=training).clip(0, 6)
    if reduction:
        reduced = mix(maps, state["DLA.conv_pro.weight"])
        maps = batch_norm(reduced, state, "DLA.bn3", training=training)
        if identity:
            maps = maps + incoming
    maps = batch_norm(maps, state, "adapt_bn", training=training)
    expect_equal(module, x, linear(weigh(maps, v), state, "proj"))


def incoming_maps(num_tokens: int) -> torch.Tensor:
    return torch.rand(BATCH, 4, num_tokens, num_tokens, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def test_refiner_adds_a_scaled_incoming_map_and_returns_the_map_that_weights_v():
    """Without the transform only the sum remains."""
    module, state = randomised("refiner", Slot(dim=DIM, num_heads=4), training=False, apply_transform=False)
    x, incoming = tokens(5), incoming_maps(5)
    maps, v = softmax_maps(x.numpy(), state, 4)
    maps = maps + incoming.numpy() / math.sqrt(6)
    out, handed_on = module.attend(x, incoming)
    np.testing.assert_allclose(handed_on.detach().numpy(), maps, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(out.detach().numpy(), linear(weigh(maps, v), state, "proj"), rtol=1e-10, atol=1e-10)


def test_map_sharing_refines_the_incoming_map_and_returns_it_unchanged():
    """One map per head, a 1 x 1 kernel, no expansion: the refinement is short enough to write by hand."""
    module = MapSharingAttention(Slot(dim=DIM, num_heads=4), expansion=1, kernel_size=1).double().eval()
    state = randomise(module)
    x, incoming = tokens(5), incoming_maps(5)
    maps = incoming.numpy() * state["DLA.depth_sep_conv.weight"][:, 0]
    maps = mix(batch_norm(maps, state, "DLA.bn2", training=False).clip(0, 6), state["DLA.conv_pro.weight"])
    maps = batch_norm(maps, state, "DLA.bn3", training=False) + incoming.numpy()
    maps = batch_norm(maps, state, "adapt_bn", training=False) / math.sqrt(6)
    out, handed_on = module.attend(x, incoming)
    want = linear(weigh(maps, linear(x.numpy(), state, "qkv")), state, "proj")
    np.testing.assert_allclose(out.detach().numpy(), want, rtol=1e-10, atol=1e-10)
    assert torch.equal(handed_on, incoming)


def hardswish(x):
    return x * np.clip(x + 3, 0, 6) / 6


def pool(image, side, reduce):
    """`reduce` of the pixels inside of the image; an even side extends one pixel further down and right."""
    (height, width), before, out = image.shape, (side - 1) // 2, np.zeros_like(image)
    for i in range(height):
        for j in range(width):
            rows = range(max(0, i - before), min(height, i - before + side))
            columns = range(max(0, j - before), min(width, j - before + side))
            out[i, j] = reduce([image[row, column] for row in rows for column in columns])
    return out


def neighbours_pointwise(x, state, name, grid, num_prefix, kind, side):
    """Aggregation (B, N, S): neighbourhoods of patches, the prefix unchanged, then the same 1x1 for all tokens."""
    out = x.copy()
    for b in range(x.shape[0]):
        for channel in range(x.shape[2]):
            image = x[b, num_prefix:, channel].reshape(grid)
            if kind == "dwconv":
                image = convolve(image, state[f"{name}.conv1.weight"][channel, 0])
            else:
                image = pool(image, side, max if kind == "maxpool" else np.mean)
            out[b, num_prefix:, channel] = image.reshape(-1)
    return out @ state[f"{name}.pointwise_conv.weight"][:, :, 0, 0].T


# Options, resulting kernel sizes, heads, position window of every head.
GROUPMIX = [
    ({"kernel_sizes": (3, 2)}, (3, 2), 3, [3, 5, 7]),  # one head per segment, an even kernel
    (
        {"kernel_sizes": (1,), "local_kernel_size": 2},
        (1,),
        2,
        [5, 7],
    ),  # fewer heads than windows: larger windows first
    ({"kernel_sizes": (5, 3, 2, 4)}, (5, 3, 2, 4), 4, [3, 5, 7, 7]),  # heads of 5 channels straddle segments of 4
    ({"kernel_sizes": (3, 2), "aggregator": "maxpool"}, (3, 2), 3, [3, 5, 7]),
    ({"kernel_sizes": (3, 4), "aggregator": "avgpool"}, (3, 4), 3, [3, 5, 7]),
    ({"kernel_sizes": (3, 5, 2), "identity_segment": False}, (3, 5, 2), 3, [3, 5, 7]),
    ({"kernel_sizes": (3, 5), "local_branch": False}, (3, 5), 4, [3, 5, 7, 7]),
    ({"kernel_sizes": (3, 2), "num_segments": 6}, (3, 2, 3, 2), 4, [3, 5, 7, 7]),
    ({"kernel_sizes": (3, 5, 7), "num_segments": 3}, (3,), 2, [5, 7]),
    ({"kernel_sizes": ()}, (), 3, [3, 5, 7]),
    ({"kernel_sizes": (3, 2), "token_ensemble": False}, (3, 2), 3, [3, 5, 7]),
    ({"kernel_sizes": (3, 2), "head_layout": "straddle"}, (3, 2), 3, [3, 5, 7]),
    ({"kernel_sizes": (5, 3, 2, 4), "head_layout": "straddle", "local_branch": True}, (5, 3, 2, 4), 4, [3, 5, 7, 7]),
    ({"kernel_sizes": (3, 2), "crpe": False}, (3, 2), 3, None),
    ({"kernel_sizes": (3, 2), "position_windows": (4, 2)}, (3, 2), 3, [4, 2, 2]),
]


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("num_prefix", [0, 2])
@pytest.mark.parametrize(("options", "kernel_sizes", "num_heads", "windows"), GROUPMIX)
def test_groupmix(training, num_prefix, options, kernel_sizes, num_heads, windows):
    grid, kind = (2, 3), options.get("aggregator", "dwconv")
    has_identity, has_local = options.get("identity_segment", True), options.get("local_branch", True)
    slot = Slot(dim=DIM, num_heads=num_heads, grid_size=grid, num_prefix_tokens=num_prefix)
    module, state = randomised("groupmix", slot, training=training, **options)
    x = tokens(num_prefix + 6)
    N, S = x.shape[1], DIM // (len(kernel_sizes) + has_identity + has_local)
    qkv = np.concatenate(np.split(linear(x.numpy(), state, "qkv"), 3, axis=-1))  # q, k, v are batch entries

    mixed = []
    names = ([0] if has_identity else []) + list(range(1, len(kernel_sizes) + 1))
    for place, index in enumerate(names):
        segment = qkv[:, :, place * S : (place + 1) * S]
        if index:
            side = kernel_sizes[index - 1]
            segment = neighbours_pointwise(segment, state, f"aggregator.agg{index}", grid, num_prefix, kind, side)
        channels_first = segment.transpose(0, 2, 1)
        normed = batch_norm(
            channels_first,
            state,
            f"aggregator.norm{index}",
            training=training,
            statistics_of=channels_first[:, :, num_prefix:],
        )
        mixed.append(hardswish(normed.transpose(0, 2, 1)))
    G = len(mixed)
    # Position of channel c of segment g among the channels that are split into heads.
    place_of = [
        c * G + g if options.get("head_layout") == "straddle" else g * S + c for g in range(G) for c in range(S)
    ]
    dealt = np.empty((*qkv.shape[:2], G * S))
    dealt[:, :, place_of] = np.concatenate(mixed, axis=-1)
    q, k, v = np.split(dealt, 3)

    width = G * S // num_heads
    out = np.zeros_like(q)
    scale = 1 / math.sqrt(DIM // num_heads)
    for b in range(BATCH):
        for h in range(num_heads):
            part = range(h * width, (h + 1) * width)
            weights = {e: softmax(list(k[b, :, e])) for e in part}
            for n in range(N):
                for e in part:
                    context = [sum(weights[d][m] * v[b, m, e] for m in range(N)) for d in part]
                    out[b, n, e] = scale * sum(q[b, n, d] * c for d, c in zip(part, context, strict=True))
    if windows is not None:
        # Kernels are listed per distinct window; concatenated, they are the kernels of all channels.
        distinct = list(dict.fromkeys(windows))
        kernels = [kernel for i in range(len(distinct)) for kernel in state[f"crpe.conv_list.{i}.weight"][:, 0]]
        biases = np.concatenate([state[f"crpe.conv_list.{i}.bias"] for i in range(len(distinct))])
        assert [kernel.shape[0] for kernel in kernels[::width]] == windows
        for b in range(BATCH):
            for e in range(G * S):
                around = convolve(v[b, num_prefix:, e].reshape(grid), kernels[e]).reshape(-1) + biases[e]
                out[b, num_prefix:, e] += q[b, num_prefix:, e] * around
    parts = [out[:, :, place_of]]

    if has_local:
        local = np.concatenate(np.split(qkv[:, :, -S:], 3), axis=-1)
        side = options.get("local_kernel_size", 3)
        local = neighbours_pointwise(local, state, "aggregator.agg0.conv", grid, num_prefix, "dwconv", side)
        mean, var = local.mean(-1, keepdims=True), local.var(-1, keepdims=True)
        norm = {key: state[f"aggregator.agg0.norm.{key}"] for key in ("weight", "bias")}
        parts.append(hardswish((local - mean) / np.sqrt(var + 1e-5) * norm["weight"] + norm["bias"]))
    want = np.concatenate(parts, axis=-1)
    expect_equal(module, x, linear(want, state, "proj") if options.get("token_ensemble", True) else want)
