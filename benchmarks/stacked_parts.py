"""The two thresholds of stacked models: where another form of the same arithmetic is the faster one on a CPU.

Depthwise convolutions as products of matrices (`modelzoo/stacked/small_convolution.py`) and attention with its maps
formed (`modelzoo/stacked/mechanisms/attention.py`), against what single models call. Forward and backward, CPU time of
one thread, alternated, medians of the ratios; both forms must give the same numbers first. The process starts itself
again with the allocator settings of trials.

    OMP_NUM_THREADS=1 python benchmarks/stacked_parts.py
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from modelzoo.stacked.small_convolution import is_small, small_depthwise
from runners.engines.forkserver.trial_target import TRIAL_ENV

ROUNDS, REPEATS = 7, 5
MEMBERS, IMAGES = 8, 96
Form = Callable[[], Tensor]


def convolutions() -> None:
    channels = MEMBERS * 12
    print(f"depthwise convolution of {channels} channels, {IMAGES} images: convolution / product of matrices")
    for side, kernel in ((4, 3), (4, 5), (4, 7), (8, 3), (8, 5), (8, 7), (14, 3), (14, 7)):
        x = torch.randn(IMAGES, channels, side, side, requires_grad=True)
        weight = torch.randn(channels, 1, kernel, kernel, requires_grad=True)
        ratio = compared(
            lambda x=x, weight=weight, kernel=kernel: F.conv2d(x, weight, padding=kernel // 2, groups=channels),
            lambda x=x, weight=weight: small_depthwise(x, weight, None),
            (x, weight),
        )
        chosen = "product" if is_small((side, side), kernel) else "convolution"
        print(f"  {side:2d} x {side:2d} pixels, kernel {kernel}: {ratio:5.2f}  (takes the {chosen})", flush=True)


def attention() -> None:
    heads, wide = MEMBERS * 4, 15
    print(f"softmax attention of {heads} heads of {wide}, {IMAGES} images: fused / maps formed")
    for tokens in (16, 17, 32, 40, 48, 65, 197):
        qkv = [torch.randn(IMAGES, heads, tokens, wide, requires_grad=True) for _ in range(3)]

        def formed(qkv: Sequence[Tensor] = qkv) -> Tensor:
            q, k, v = qkv
            return (q * wide**-0.5 @ k.transpose(-2, -1)).softmax(dim=-1) @ v

        ratio = compared(lambda qkv=qkv: F.scaled_dot_product_attention(*qkv), formed, qkv)
        print(f"  {tokens:3d} tokens: {ratio:5.2f}", flush=True)


def compared(usual: Form, other: Form, inputs: Sequence[Tensor]) -> float:
    """CPU time of the usual form over that of the other."""
    torch.testing.assert_close(usual(), other(), rtol=1e-4, atol=1e-4)
    seconds: dict[Form, list[float]] = {usual: [], other: []}
    for round_ in range(ROUNDS + 1):
        for form, took in seconds.items():
            began = time.process_time()
            for _ in range(REPEATS):
                torch.autograd.grad(form().square().sum(), inputs)
            if round_:
                took.append(time.process_time() - began)
    return statistics.median(a / b for a, b in zip(seconds[usual], seconds[other], strict=True))


if __name__ == "__main__":
    allocator = {name: value for name, value in TRIAL_ENV.items() if name.startswith("MALLOC_")}
    if not allocator.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **allocator})
    torch.set_num_threads(1)
    torch.manual_seed(0)
    convolutions()
    attention()
