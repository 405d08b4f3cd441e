"""What a mechanism keeps for the backward pass, and what a step takes, with and without `train.recompute_maps`.

Kept are the bytes at distinct addresses that autograd holds between the passes; module by module they are those of the
original implementations (within 1 %). A step is forward and backward, in CPU time of one thread, in alternation. Before
anything is timed the gradients of both must agree to 1e-10 in double precision.

    OMP_NUM_THREADS=1 python benchmarks/memory.py
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from modelzoo.attention import ATTENTION, Slot
from modelzoo.attention.map_kernels.chosen import set_numerics

CASES = {  # mechanism, tokens, images, heads, options, dropout of attention
    "refiner T197 e3": ("refiner", 197, 4, 12, {"expansion": 3.0}, 0.0),
    "refiner T197 e6": ("refiner", 197, 4, 12, {"expansion": 6.0}, 0.0),
    "refiner T65 e3": ("refiner", 65, 16, 12, {"expansion": 3.0}, 0.0),
    "refiner T197 e3, 3 heads": ("refiner", 197, 4, 3, {"expansion": 3.0}, 0.0),
    "reattention T197": ("reattention", 197, 4, 12, {}, 0.0),
    "reattention T197, dropout": ("reattention", 197, 4, 12, {}, 0.1),
    "reattention T65": ("reattention", 65, 16, 12, {}, 0.0),
}
WIDTH = 192
MIB = 2**20


def kept_mib(module: nn.Module, tokens: Tensor) -> float:
    kept, bytes_at = [], {}

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)  # so that no address is used twice
        bytes_at[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {each.untyped_storage().data_ptr() for each in module.parameters()}
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        module(tokens)
    return sum(size for address, size in bytes_at.items() if address not in weights) / MIB


def step(module: nn.Module, tokens: Tensor) -> Tensor:
    torch.manual_seed(0)
    tokens.grad = None
    (module(tokens) * torch.linspace(-1, 1, WIDTH, dtype=tokens.dtype)).sum().backward()
    assert tokens.grad is not None
    return tokens.grad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for case, (name, num_tokens, images, heads, options, dropped) in CASES.items():
        torch.manual_seed(0)
        plain = ATTENTION[name](Slot(dim=WIDTH, num_heads=heads, grid_size=(8, 8), attn_drop=dropped), **options)
        again = copy.deepcopy(plain)
        set_numerics(again, "recompute")
        arms = (plain.train(), again.train())
        wide = torch.randn(images, num_tokens, WIDTH, dtype=torch.float64, requires_grad=True)
        expected, found = (step(copy.deepcopy(each).double(), wide) for each in arms)
        error = ((found - expected).norm() / expected.norm()).item()
        assert error <= 1e-10, f"{case}: {error:.1e}"
        tokens = wide.detach().float().requires_grad_()
        before, now = (kept_mib(each, tokens) for each in arms)
        rounds: list[list[float]] = []
        for _ in range(given.rounds + 1):
            rounds.append([])
            for each in arms:
                began = time.process_time()
                step(each, tokens)
                rounds[-1].append(time.process_time() - began)
        speed = statistics.median(one / other for one, other in rounds[1:])
        print(
            f"{case:27} {before:6.1f} -> {now:5.1f} MiB kept (1/{before / now:.1f}), speed x{speed:.2f}, "
            f"gradients {error:.0e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
