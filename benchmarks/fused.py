"""Fused trials: one training step of K stacked members against K steps of single trials. CPU time of one thread.

Three forms of the same update (forward, loss, backward, AdamW) of the same members, alternated in one process:

    loop    K single models with PyTorch's loop over weights (`numerics: single`, as in 0.1.0)
    single  K single models with the fused optimizer that trials have without fusing
    fused   one stack

Before anything is timed, three updates in float64 must give the same losses to 1e-10 (with the fused optimizer, which
computes an entry in another order, too). The process starts itself again with the allocator settings of trials.

    OMP_NUM_THREADS=1 python benchmarks/fused.py
    OMP_NUM_THREADS=1 python benchmarks/fused.py --tokens 64 --embed-dim 192 --heads 3 --depth 2 --batch 16 --members 4
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo import build_model
from modelzoo.stacked import Stacked, bits_depend_on_group, reason_not_stackable
from runners.engines.forkserver.trial_target import TRIAL_ENV
from runners.training.optimization.optimizer import create_optimizer
from runners.training.stacked.optimizer import StackedOptimizer
from search_space.schema.trial import ArchSpec, TrainSpec

CPU = torch.device("cpu")
Step = Callable[[], Tensor]


def build(options: argparse.Namespace, mechanism: str, seed: int) -> nn.Module:
    # Group-Mix needs a width that its five segments divide.
    wide = options.embed_dim if mechanism != "groupmix" else options.groupmix_dim or options.embed_dim
    heads = options.heads if mechanism != "groupmix" else options.groupmix_heads or options.heads
    arch = {"depth": options.depth, "embed_dim": wide, "num_heads": heads, "mlp_ratio": 2, "patch_size": 2}
    arch |= {"class_token": False, "attention": mechanism}
    side = 2 * int(options.tokens**0.5)
    return build_model(ArchSpec.model_validate(arch), img_size=side, in_chans=1, num_classes=10, seed=seed).train()


def steps(models: list[nn.Module], images: Tensor, labels: Tensor) -> dict[str, Step]:
    """An update of all members in every form; each returns their losses (K,)."""

    def alone(numerics: str) -> Step:
        own = copy.deepcopy(models)
        train = TrainSpec.model_validate({"numerics": numerics})
        optimizers = [create_optimizer(model, train, CPU) for model in own]

        def step() -> Tensor:
            losses = []
            for model, optimizer, x, y in zip(own, optimizers, images, labels, strict=True):
                optimizer.zero_grad(set_to_none=True)
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            return torch.stack(losses)

        return step

    stack = Stacked(models, generators=[torch.Generator() for _ in models]).train()
    together = StackedOptimizer(stack, models, [create_optimizer(model, TrainSpec(), CPU) for model in models])

    def fused() -> Tensor:
        together.zero_grad()
        losses_K = torch.stack([F.cross_entropy(*each) for each in zip(stack(images), labels, strict=True)])
        losses_K.sum().backward()
        together.step()
        return losses_K.detach()

    return {"loop": alone("single"), "single": alone("auto"), "fused": fused}


def check(options: argparse.Namespace, mechanism: str, images: Tensor, labels: Tensor) -> None:
    models = [build(options, mechanism, seed).double() for seed in range(2)]
    assert (reason := reason_not_stackable(models[0], batch_size=options.batch, num_threads=1)) is None, reason
    forms = steps(models, images[:2].double(), labels[:2])
    for _ in range(3):
        losses = {name: step() for name, step in forms.items()}
        for name in ("single", "fused"):
            torch.testing.assert_close(losses[name], losses["loop"], rtol=1e-10, atol=0)


def measure(options: argparse.Namespace, mechanism: str) -> None:
    drawn = torch.Generator().manual_seed(0)
    side = 2 * int(options.tokens**0.5)
    images = torch.randn(options.members, options.batch, 1, side, side, generator=drawn)
    labels = torch.randint(10, (options.members, options.batch), generator=drawn)
    check(options, mechanism, images, labels)
    depends = bits_depend_on_group(build(options, mechanism, 0), batch_size=options.batch)
    forms = steps([build(options, mechanism, seed) for seed in range(options.members)], images, labels)
    took: dict[str, list[float]] = {name: [] for name in forms}
    for round_ in range(options.rounds + 1):
        for name, step in forms.items():
            start = time.process_time()
            for _ in range(options.steps):
                step()
            if round_:
                took[name].append((time.process_time() - start) / options.steps / options.members)
    cells = [
        f"{name} {1e3 * statistics.median(times):6.2f} ms ({ratio(took['loop'], times):.2f}x)"
        for name, times in took.items()
    ]
    bits = "bits depend on K" if depends else "bits do not depend on K"
    print(
        f"{mechanism:11s} {' | '.join(cells)} | fused over single {ratio(took['single'], took['fused']):.2f}x | {bits}"
    )


def ratio(one: list[float], other: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mechanisms", default="softmax,reattention,refiner,groupmix")
    for name, default in (("tokens", 16), ("embed-dim", 60), ("depth", 4), ("heads", 4), ("batch", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("members", 8), ("rounds", 7), ("steps", 3), ("groupmix-dim", 0), ("groupmix-heads", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    allocator = {name: value for name, value in TRIAL_ENV.items() if name.startswith("MALLOC_")}
    if not allocator.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **allocator})
    torch.set_num_threads(1)
    sizes = f"T{options.tokens} d{options.embed_dim} L{options.depth} h{options.heads} B{options.batch}"
    print(f"{sizes} K{options.members}: CPU time of an update per member (speed-up over the loop)")
    for mechanism in options.mechanisms.split(","):
        measure(options, mechanism)


if __name__ == "__main__":
    main()
