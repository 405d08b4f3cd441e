"""CPU time of training steps, evaluations and whole trials, beside an older archsweep, and the share of the optimizer.

Each tree has a process of its own (one thread, the memory allocator as trials on Ray have it) that does one piece of
work when it is asked to; pieces alternate round by round. Before anything is timed both must compute the same: outputs
of an evaluation to 1e-6, gradients of a step in double precision to 1e-8 (module by module, the bias of Re-attention's
mixing costs six digits: tests compare to 1e-10 where it does not), the first loss of a trial to 1 %.

    git worktree add ../archsweep-0.1.0 5ad6dd2
    python benchmarks/step.py --against ../archsweep-0.1.0
    python benchmarks/step.py --against ../archsweep-0.1.0 --only trial --rounds 5
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from timm.optim import create_optimizer_v2

HERE = Path(__file__).resolve().parents[1]
MODULES = {  # mechanism, tokens, images, heads, width, options
    "refiner T65 e3": ("refiner", 65, 16, 12, 192, {"expansion": 3.0}),
    "refiner T197 e3": ("refiner", 197, 4, 12, 192, {"expansion": 3.0}),
    "refiner T197 e6": ("refiner", 197, 4, 12, 192, {"expansion": 6.0}),
    "reattention T197": ("reattention", 197, 4, 12, 192, {}),
}
CASES = [
    *(f"{mode} {name}" for name in MODULES for mode in ("eval", "train")),
    *(f"trial {attention}" for attention in ("softmax", "refiner")),
    "optimizer digits",
    "optimizer T65",
]
SWEEP = """
name: step
baseline:
  arch: {{model: vit, depth: 4, embed_dim: 60, num_heads: 4, patch_size: 2, class_token: false, attention: {attention}}}
  task: {{name: classification, dataset: builtin/digits}}
  train: {{epochs: 2, batch_size: 32, lr: 1e-3}}
space: {{}}
design: factorial
metric: top1
"""
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}


# -- in the process of a tree ----------------------------------------------------------------------


class Module:
    """Evaluation or training step of one mechanism."""

    def __init__(self, mode: str, name: str) -> None:
        from modelzoo.attention import ATTENTION, Slot

        kind, tokens, images, heads, width, options = MODULES[name]
        torch.manual_seed(0)
        self.module = ATTENTION[kind](Slot(dim=width, num_heads=heads, grid_size=(8, 8)), **options)
        self.tokens, self.cotangent = torch.randn(images, tokens, width, requires_grad=True), torch.randn(width)
        with torch.no_grad():
            for _ in range(3):
                self.module.train()(self.tokens)  # running statistics
        self.is_training = mode == "train"
        self.module.train(self.is_training)
        try:
            from modelzoo.attention.map_kernels.chosen import set_numerics
        except ImportError:  # 0.1.0
            return
        set_numerics(self.module, "auto")

    def work(self) -> None:
        if self.is_training:
            (self.module(self.tokens) * self.cotangent).sum().backward()
        else:
            with torch.inference_mode():
                self.module(self.tokens)

    def result(self) -> list[torch.Tensor]:
        if not self.is_training:
            with torch.inference_mode():
                return [self.module(self.tokens).clone()]
        module, tokens = self.module.double(), self.tokens.detach().double().requires_grad_()
        (module(tokens) * self.cotangent.double()).sum().backward()
        assert tokens.grad is not None
        found = [tokens.grad, *(each.grad for name, each in module.named_parameters() if "bias" not in name)]
        module.float()
        for each in module.parameters():
            each.grad = None
        return [each for each in found if each is not None]


class Trial:
    """A trial of two epochs: data, training, recalibration, evaluation."""

    def __init__(self, attention: str) -> None:
        from search_space import load_sweep_text, variants

        file = load_sweep_text(SWEEP.format(attention=attention))
        (variant,) = variants(file.sweep)
        self.spec, self.resources = variant.setting.with_seed(0), file.sweep.resources

    def work(self) -> None:
        try:
            from runners.training.trial import run_trial
        except ImportError:  # 0.1.0
            from runners.trial import run_trial  # pyright: ignore[reportMissingImports]
        self.outcome = run_trial(self.spec, report=lambda metrics: False, resources=self.resources, device="cpu")

    def result(self) -> list[torch.Tensor]:
        self.work()
        return [torch.tensor(self.outcome.curve[0]["train_loss"])]


class Optimizer:
    """Training steps of a ViT of four blocks with AdamW; `share` is the optimizer's."""

    def __init__(self, name: str) -> None:
        from modelzoo import build_model
        from search_space import ArchSpec

        tokens, width, heads = {"digits": (16, 60, 4), "T65": (64, 192, 3)}[name]
        side = int(tokens**0.5) * 2
        arch = ArchSpec(depth=4, embed_dim=width, num_heads=heads, patch_size=2, class_token=False)
        torch.manual_seed(0)
        self.model = build_model(arch, img_size=side, in_chans=1, num_classes=10).train()
        self.images, self.labels = torch.randn(32, 1, side, side), torch.randint(0, 10, (32,))
        try:
            from runners.training.optimization.optimizer import create_optimizer
            from search_space import TrainSpec

            self.optimizer = create_optimizer(self.model, TrainSpec(), torch.device("cpu"))
        except ImportError:  # 0.1.0
            self.optimizer = create_optimizer_v2(self.model, opt="adamw", lr=1e-3, weight_decay=0.05, momentum=0.9)
        self.seconds = [0.0, 0.0]

    def work(self) -> None:
        for _ in range(5):
            began = time.process_time()
            self.optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(self.model(self.images), self.labels).backward()
            middle = time.process_time()
            self.optimizer.step()
            self.seconds[0] += middle - began
            self.seconds[1] += time.process_time() - middle

    def result(self) -> list[torch.Tensor]:
        with torch.inference_mode():
            return [self.model(self.images).clone()]

    @property
    def share(self) -> float:
        return self.seconds[1] / sum(self.seconds)


def serve() -> None:
    """Answer `result FILE`, `time` and `share` of the case that a line `case NAME` has set, one answer a line."""
    torch.set_num_threads(1)
    work = None
    for line in sys.stdin:
        verb, _, rest = line.strip().partition(" ")
        answer = "ok"
        if verb == "case":
            kind, _, name = rest.partition(" ")
            work = Trial(name) if kind == "trial" else Optimizer(name) if kind == "optimizer" else Module(kind, name)
        assert work is not None
        if verb == "result":
            torch.save(work.result(), rest)
        elif verb == "time":
            began = time.process_time()
            work.work()
            answer = str(time.process_time() - began)
        elif verb == "share":
            assert isinstance(work, Optimizer)
            answer = str(work.share)
        print(answer, flush=True)


# -- beside each other -----------------------------------------------------------------------------


class Tree:
    """Process of a tree that works when it is asked to."""

    def __init__(self, tree: Path, *, tuned: bool) -> None:
        own = {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "ARCHSWEEP_CACHE": "off"}
        env = {**os.environ, **own, **(MALLOC if tuned else {})}
        command = [sys.executable, str(Path(__file__).resolve()), "--serve"]
        self.process = subprocess.Popen(
            command, env=env, cwd=tree, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer, f"the process of {line!r} ended"
        return answer


def check_equal(case: str, trees: list[Tree], folder: Path) -> None:
    found = []
    for index, tree in enumerate(trees):
        tree.ask(f"case {case}")
        tree.ask(f"result {folder / str(index)}")
        found.append(torch.load(folder / str(index)))
    bound = {"train": 1e-8, "trial": 1e-2}.get(case.split()[0], 1e-6)
    for one, other in zip(*found, strict=True):
        error = ((one - other).norm() / one.norm()).item()
        assert error <= bound, f"{case}: {error:.1e} > {bound:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="folder of the older archsweep")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--stock", action="store_true", help="the system's settings of the memory allocator")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
        return
    if given.against is None:
        parser.error("--against is missing: the folder of the older archsweep")
    trees = [Tree(path.resolve(), tuned=not given.stock) for path in (given.against, HERE)]
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if given.only not in case:
                continue
            check_equal(case, trees, Path(folder))
            rounds = [[float(tree.ask("time")) for tree in trees] for _ in range(given.rounds + 1)][1:]
            before, now = (1e3 * statistics.median(each) for each in zip(*rounds, strict=True))
            ratio = statistics.median(old / new for old, new in rounds)
            line = f"{case:24} {before:8.1f} -> {now:8.1f} ms  x{ratio:.2f}"
            if case.startswith("optimizer"):
                shares = [float(tree.ask("share")) for tree in trees]
                line += f"  share of the optimizer: {shares[0]:.1%} -> {shares[1]:.1%}"
            print(line, flush=True)
    for tree in trees:
        tree.process.terminate()


if __name__ == "__main__":
    main()
