#!/usr/bin/env bash
# torch 2.15.0: under bfloat16 autocast a BatchNorm behind a 1x1 convolution of attention maps returns mostly rounding.
#
# Behaviour: autocast runs the convolution in bfloat16 and hands its result to a BatchNorm whose statistics are in float32.
# The entries of a softmax map of a fresh model differ by a few percent of their mean, here by 15 %, so that of the 8 bits
# behind the convolution most describe that mean. BatchNorm takes it away and enlarges the rest: the relative error of the
# normalised map is 0.6, where that of the convolution, and that of softmax attention with the same maps, is 0.003.
# Guess that was wrong: BatchNorm is safe under autocast, because its statistics and its arithmetic are in float32.
# Consequence for us: maps that a mechanism transforms are in float32 under autocast (docs/precision.md, `train.map_precision`).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.15.0 numpy >/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch import nn

torch.manual_seed(0)
images, heads, tokens, width = 8, 12, 196, 32
q, k, v = torch.randn(3, images, heads, tokens, width)
maps = (0.15 * q @ k.transpose(-2, -1) / width**0.5).softmax(dim=-1)
mix, norm = nn.Conv2d(heads, heads, 1), nn.BatchNorm2d(heads)


def lost(exact, rounded):
    return ((rounded.float() - exact).norm() / exact.norm()).item()


with torch.no_grad():
    mixed, normed, values = mix(maps), norm(mix(maps)), maps @ v
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed_half, values_half = mix(maps), maps @ v
        normed_half = norm(mixed_half)
print(f"torch {torch.__version__}; entries of a map differ by {100 * (maps.std() / maps.mean()).item():.0f} % of their mean")
print(f"  relative error of the convolution:              {lost(mixed, mixed_half):.4f}")
print(f"  relative error of the BatchNorm behind it:      {lost(normed, normed_half):.4f}")
print(f"  relative error of the product of map and values: {lost(values, values_half):.4f}")
assert mixed_half.dtype == torch.bfloat16 and norm.running_mean.dtype == torch.float32
assert lost(mixed, mixed_half) < 0.01 and lost(normed, normed_half) > 0.25
PYTHON
