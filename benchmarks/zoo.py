"""Forward + backward of every attention mechanism against timm's plain attention, interleaved in one process.

One thread, one module, batch 8 of 14 x 14 + 1 tokens, width 320, 8 heads (320 divides by Group-Mix's five segments).
Rounds go through all mechanisms in turn, so that a drift of the machine meets all of them. Prints medians and ratios:

    OMP_NUM_THREADS=1 python benchmarks/zoo.py --rounds 9
    python benchmarks/zoo.py --device cuda --batch 64
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from timm.layers import Attention
from torch import nn

from modelzoo import ATTENTION, Slot

GRID, DIM, HEADS = (14, 14), 320, 8


def candidates() -> dict[str, nn.Module]:
    slot = Slot(dim=DIM, num_heads=HEADS, grid_size=GRID, num_prefix_tokens=1)
    mechanisms = {name: ATTENTION[name](slot) for name in sorted(ATTENTION)}
    return {"timm Attention": Attention(DIM, num_heads=HEADS, qkv_bias=True), **mechanisms}


def step(module: nn.Module, tokens: torch.Tensor) -> float:
    """Seconds of one forward and backward pass."""
    if tokens.is_cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    module(tokens).sum().backward()
    if tokens.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    modules = {name: module.to(arguments.device).train() for name, module in candidates().items()}
    tokens = torch.randn(arguments.batch, GRID[0] * GRID[1] + 1, DIM, device=arguments.device, requires_grad=True)
    seconds: dict[str, list[float]] = {name: [] for name in modules}
    for number in range(arguments.rounds + 1):
        for name, module in modules.items():
            taken = step(module, tokens)
            if number:  # the first round warms up
                seconds[name].append(taken)
    floor = statistics.median(seconds["timm Attention"])
    print(f"{'module':16} {'median ms':>10} {'min ms':>8} {'ratio':>6}")
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"{name:16} {median * 1e3:10.1f} {min(taken) * 1e3:8.1f} {median / floor:6.2f}")


if __name__ == "__main__":
    main()
