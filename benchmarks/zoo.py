"""Forward + backward of every attention mechanism and of named models against timm's plain ones, in one process.

Mechanisms stand in the slot of timm's `Attention`, whose fused kernel is the reference; "timm, maps formed" is the same
attention without that kernel, the fairer comparison for mechanisms that change maps. Width 320 and 8 heads suit all of
them (320 divides by Group-Mix's five segments). Named models are compared with timm's `deit_small_patch16_224`.

Rounds go through all cases in turn, so that a drift of the machine meets all of them. A ratio is the median over rounds
of (time of the case / time of the reference in the same round), between its quartiles. "kept" is what autograd keeps
for the backward pass, weights excepted; "peak", on a GPU only, the most memory that a step allocates. CPUs: one thread.

    OMP_NUM_THREADS=1 python benchmarks/zoo.py --rounds 9
    OMP_NUM_THREADS=1 python benchmarks/zoo.py --rounds 5 --models
    python benchmarks/zoo.py --device cuda --batch 64 --amp --models --model-batch 32
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import timm
import torch
from timm.layers import Attention
from torch import nn

from modelzoo import ATTENTION, Slot  # also registers the named models with timm

GRID, DIM, HEADS = (14, 14), 320, 8
MODELS = (
    "deit_small_patch16_224",  # the reference
    "deepvit_baseline_12b_patch16_224",
    "deepvit_12b_patch16_224",
    "deepvit_small_patch16_224",
    "refined_vit_small_patch16_224",
    "groupmixformer_mobile_224",
    "groupmixformer_tiny_224",
    "swin_tiny_patch4_window7_224",
    "focal_tiny_patch4_window7_224",
    "regionvit_tiny_224",
    "regionvit_small_224",
    "lg_transformer_tiny_224",
)
Case = tuple[nn.Module, torch.Tensor]


def mechanisms() -> dict[str, nn.Module]:
    """timm's attention, fused and not, then ours, in one slot."""
    slot = Slot(dim=DIM, num_heads=HEADS, grid_size=GRID, num_prefix_tokens=1)
    unfused = Attention(DIM, num_heads=HEADS, qkv_bias=True)
    unfused.fused_attn = False  # pyright: ignore[reportAttributeAccessIssue]
    fused = Attention(DIM, num_heads=HEADS, qkv_bias=True)
    ours = {name: ATTENTION[name](slot) for name in sorted(ATTENTION)}
    return {"timm Attention": fused, "timm, maps formed": unfused, **ours}


def forward(case: Case, amp: bool) -> torch.Tensor:
    module, x = case
    with torch.autocast(x.device.type, dtype=torch.bfloat16) if amp else nullcontext():
        return module(x)


def step(case: Case, amp: bool) -> None:
    """One forward and backward pass; its gradients are thrown away."""
    module, x = case
    forward(case, amp).float().square().mean().backward()
    module.zero_grad(set_to_none=True)
    x.grad = None


def seconds(run: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def kept_mib(case: Case, amp: bool) -> float:
    """What a forward pass leaves for the backward pass, weights excepted."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in case[0].parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward(case, amp)
    return sum(storage.nbytes() for storage in kept.values()) / 2**20


def peak_mib(case: Case, amp: bool, device: torch.device) -> str:
    if device.type != "cuda":
        return "-"
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step(case, amp)
    torch.cuda.synchronize()
    return f"{(torch.cuda.max_memory_allocated() - before) / 2**20:.1f}"


def compare(title: str, cases: dict[str, Case], *, rounds: int, amp: bool, device: torch.device) -> None:
    """Times all cases in turn, round after round, and prints the table; the first case is the reference."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 2):
        for name, case in cases.items():
            one = seconds(lambda case=case: step(case, amp), device)
            if number >= 2:  # the first rounds choose kernels and allocate
                taken[name].append(one)
    reference = next(iter(taken.values()))
    print(f"\n{title}")
    print(f"{'':34} {'params':>11} {'median ms':>10} {'min ms':>8} {'ratio':>6} {'quartiles':>11}", end="")
    print(f" {'kept MiB':>9} {'peak MiB':>9}")
    for name, case in cases.items():
        ratios = [ours / theirs for ours, theirs in zip(taken[name], reference, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        params = sum(parameter.numel() for parameter in case[0].parameters())
        print(
            f"{name:34} {params:>11,} {statistics.median(taken[name]) * 1e3:10.1f} {min(taken[name]) * 1e3:8.1f} "
            f"{middle:6.2f} {f'{low:.2f}-{high:.2f}':>11} {kept_mib(case, amp):9.1f} {peak_mib(case, amp, device):>9}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="at least 2")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--amp", action="store_true", help="bfloat16 where torch's autocast allows it")
    parser.add_argument("--models", nargs="*", help="named models, too; the first is the reference; default: ours")
    parser.add_argument("--model-batch", type=int, default=2, help="224x224 images; at least 2")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, one thread"
    print(f"{where}; torch {torch.__version__}, timm {timm.__version__}")
    options = {"rounds": arguments.rounds, "amp": arguments.amp, "device": device}
    num_tokens = GRID[0] * GRID[1] + 1
    tokens = torch.randn(arguments.batch, num_tokens, DIM, device=device, requires_grad=True)
    modules = {name: (module.to(device).train(), tokens) for name, module in mechanisms().items()}
    compare(f"mechanisms: {arguments.batch} x {num_tokens} tokens, width {DIM}, {HEADS} heads", modules, **options)
    if arguments.models is not None:
        images = torch.randn(arguments.model_batch, 3, 224, 224, device=device, requires_grad=True)
        names = arguments.models or MODELS
        models = {name: (timm.create_model(name).to(device).train(), images) for name in names}
        compare(f"models: {arguments.model_batch} images of 224x224", models, **options)


if __name__ == "__main__":
    main()
