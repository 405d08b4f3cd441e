"""Does a GPU compute what a CPU computes? Every promise of docs/precision.md, in at most eight minutes on one GPU.

Prints a table and exits with 1 where a promise is broken. Without a GPU the part that a CPU can show is run, and the
rest is listed as not run.

    OMP_NUM_THREADS=1 python benchmarks/gpu.py [--device cpu]
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo import ATTENTION, Slot, build_model
from modelzoo.attention.map_precision import float32_products, set_map_precision
from runners.data import describe_dataset
from runners.training.trial import run_trial
from search_space.schema.resources import Resources
from search_space.schema.trial import TrialSpec

MECHANISMS: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax": ("softmax", {}),
    "re-attention": ("reattention", {}),
    "re-attention, layer": ("reattention", {"norm": "layer"}),
    "refiner": ("refiner", {}),
    "refiner, all maps": ("refiner", {"reduction": False, "expansion": 2}),
    "group-mix": ("groupmix", {}),
    "group-mix, maximum": ("groupmix", {"aggregator": "maxpool"}),
}
PRECISIONS = {"float32": 0.99999, "tf32": 0.999, "bfloat16": 0.999, "float16": 0.999}
"""Least cosine of the gradient of a mechanism to that of float32 on a CPU."""
SIZES = {"depth": 2, "embed_dim": 40, "num_heads": 4, "patch_size": 4}
TRAIN = {"epochs": 3, "batch_size": 32, "lr": 2e-3}
DATA = {"dataset": {"name": "builtin/shapes", "num_train": 256, "num_test": 64}}


class Broken(Exception):
    """A promise that does not hold; the message says what was measured."""


@dataclass(frozen=True)
class Promise:
    """What is promised, and how it is measured: `check` returns what was measured, or raises `Broken`."""

    text: str
    check: Callable[[torch.device], str]
    on_cpu: bool = True


def gradient(module: nn.Module, x: Tensor, device: torch.device, precision: str, maps: Any = "float32") -> Tensor:
    module = copy.deepcopy(module).train().to(device)
    set_map_precision(module, maps)
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
    with float32_products("tf32" if precision == "tf32" else "ieee"):
        with torch.autocast(device.type, dtype=half) if half else nullcontext():
            out = module(x.to(device))
        weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(3)).to(device)
        (out.float() * weights).sum().backward()
    return torch.cat([each.grad.flatten() for each in module.parameters() if each.grad is not None]).double().cpu()


def mechanism_promises(precision: str) -> Iterator[Promise]:
    least = PRECISIONS[precision]
    for title, (name, options) in MECHANISMS.items():

        def check(device: torch.device, name: str = name, options: dict[str, Any] = options) -> str:
            torch.manual_seed(0)
            module = ATTENTION[name](Slot(dim=80, num_heads=4, grid_size=(14, 14)), **options)
            nn.init.trunc_normal_(module.qkv.weight, std=0.02)
            x = F.layer_norm(torch.randn(8, 196, 80, generator=torch.Generator().manual_seed(1)), (80,))
            exact = gradient(module, x, torch.device("cpu"), "float32")
            found = F.cosine_similarity(gradient(module, x, device, precision), exact, dim=0).item()
            if not found >= least:
                raise Broken(f"cosine {found:.5f}, below {least}")
            return f"cosine {found:.5f}"

        on_cpu = precision == "bfloat16"
        yield Promise(f"{title} in {precision}: gradient of float32 on a CPU", check, on_cpu=on_cpu)


def spec(attention: str = "refiner", **train: Any) -> TrialSpec:
    content = {"arch": {**SIZES, "attention": attention}, "task": DATA, "train": {**TRAIN, **train}}
    return TrialSpec.model_validate(content)


def trained(trial: TrialSpec, device: torch.device, **options: Any) -> Any:
    return run_trial(trial, **{"report": lambda _: False, "resources": Resources(), **options}, device=device.type)


def repeats_its_bits(device: torch.device) -> str:
    for attention in ("softmax", "reattention", "refiner", "groupmix"):
        first, second = (trained(spec(attention, deterministic=True), device) for _ in range(2))
        if first.curve != second.curve:
            raise Broken(f"{attention}: {first.curve[-1]} and {second.curve[-1]}")
    return "4 mechanisms, 3 epochs, equal curves"


def resumes_with_the_same_bits(device: torch.device) -> str:
    trial = spec(deterministic=True)
    whole, asked = trained(trial, device), iter([False] * 11 + [True] * 1_000)
    with tempfile.TemporaryDirectory() as folder:
        cut = trained(trial, device, directory=Path(folder), is_preempted=lambda: next(asked))
        if cut.status != "preempted":
            raise Broken(f"an interrupted trial is {cut.status}")
        resumed = trained(trial, device, directory=Path(folder))
    if resumed.curve != whole.curve:
        raise Broken(f"{resumed.curve[-1]} instead of {whole.curve[-1]}")
    return "interrupted after 11 of 24 updates, equal curves"


def trains_as_a_cpu_does(device: torch.device) -> str:
    ours, theirs = (trained(spec("softmax", amp="off"), each).curve for each in (device, torch.device("cpu")))
    worst = max(abs(a["train_loss"] - b["train_loss"]) for a, b in zip(ours, theirs, strict=True))
    if worst > 1e-3:
        raise Broken(f"training losses differ by {worst:.2g}")
    return f"training losses of 3 epochs within {worst:.1g}"


def leaves_no_memory_behind(device: torch.device) -> str:
    trained(spec(), device)
    before = torch.cuda.memory_allocated(device)
    trained(spec(), device)
    after = torch.cuda.memory_allocated(device)
    if after > before:
        raise Broken(f"{(after - before) / 2**20:.1f} MiB more after a second trial")
    return f"{after / 2**20:.1f} MiB before and after"


def speed_of_timm(device: torch.device) -> str:
    """Median over rounds of images a second of a trial's epochs over those of a bare loop with the same updates."""
    is_gpu = device.type == "cuda"
    side, batch, steps = (224, 64, 40) if is_gpu else (32, 32, 24)
    sizes = {"depth": 12, "embed_dim": 384, "num_heads": 6, "patch_size": 16} if is_gpu else SIZES
    content = {
        "arch": {**sizes, "img_size": side},
        "task": {"dataset": {"name": "builtin/shapes", "num_train": batch * steps, "num_test": 16, "img_size": side}},
        "train": {"epochs": 3, "batch_size": batch, "amp": "bfloat16" if is_gpu else "off"},
    }
    trial = TrialSpec.model_validate(content)
    ratios = []
    for _ in range(3):
        ours = 3 * batch * steps / trained(trial, device).train_seconds
        ratios.append(ours / bare_loop(trial, device, steps=3 * steps))
    ratio = sorted(ratios)[1]
    if ratio < 0.9:
        raise Broken(f"{ratio:.2f} of a bare loop with timm's model")
    return f"{ratio:.2f} of a bare loop with timm's model"


def bare_loop(trial: TrialSpec, device: torch.device, *, steps: int) -> float:
    """Images a second of what a bash loop would call: timm's model, AdamW, autocast, images that lie on the device."""
    from timm.models.vision_transformer import VisionTransformer

    arch, train = trial.arch, trial.train
    info = describe_dataset(trial.task, Resources())
    side = info.img_size[0]
    options: dict[str, Any] = {"img_size": side, "patch_size": arch.patch_size, "num_classes": info.num_classes}
    sizes: dict[str, Any] = {"embed_dim": arch.embed_dim, "depth": arch.depth, "num_heads": arch.num_heads}
    model = VisionTransformer(**options, **sizes).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    images = torch.randint(0, 256, (1024, 3, side, side), dtype=torch.uint8).to(device)
    labels = torch.randint(0, info.num_classes, (1024,)).to(device)
    half = torch.autocast(device.type, dtype=torch.bfloat16, enabled=train.amp == "bfloat16")
    began = 0.0
    for step in range(steps + 5):
        if step == 5:
            began = now(device)
        chosen = torch.randint(0, 1024, (train.batch_size,)).to(device)
        with half:
            loss = F.cross_entropy(model(images[chosen].float() / 255), labels[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return steps * train.batch_size / (now(device) - began)


def cost_of_exact_maps(device: torch.device) -> str:
    """Seconds and peak memory of a training step with maps in float32 over those with maps in bfloat16; no promise."""
    found = []
    for name in ("reattention", "refiner"):
        arch = {**SIZES, "embed_dim": 192, "num_heads": 3, "patch_size": 16, "depth": 4, "img_size": 224}
        trial = TrialSpec.model_validate({"arch": {**arch, "attention": name}})
        model = build_model(trial.arch, img_size=224, in_chans=3, num_classes=10, seed=0).train().to(device)
        x = torch.randn(64 if device.type == "cuda" else 4, 3, 224, 224).to(device)
        taken = {}
        for maps in ("as_amp", "float32"):
            set_map_precision(model, maps)
            best, peak = float("inf"), 0.0
            for _ in range(4):
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(device)
                began = now(device)
                with torch.autocast(device.type, dtype=torch.bfloat16):
                    loss = model(x).float().square().mean()
                loss.backward()
                best = min(best, now(device) - began)
                if device.type == "cuda":
                    peak = torch.cuda.max_memory_allocated(device)
            taken[maps] = best, peak
        (fast, small), (slow, large) = taken["as_amp"], taken["float32"]
        found.append(f"{name}: time x{slow / fast:.2f}" + (f", memory x{large / small:.2f}" if small else ""))
    return "; ".join(found)


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


SWEEP = """
name: gpu
baseline:
  arch: {depth: 2, embed_dim: 40, num_heads: 4, patch_size: 4}
  task: {dataset: {name: builtin/shapes, num_train: 256, num_test: 64}}
  train: {epochs: 3, batch_size: 32}
space: {arch.attention: [softmax, reattention, refiner]}
design: one_factor
seeds: 2
"""


def swept(*options: str, text: str = SWEEP) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and records of a sweep."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.yaml"
        file.write_text(text)
        run = [
            sys.executable,
            "-m",
            "archsweep",
            "run",
            str(file),
            "--out",
            f"{folder}/run",
            "--no-cache",
            *options,
        ]
        done = subprocess.run(run, capture_output=True, text=True)
        ledger = Path(folder) / "run" / "ledger.jsonl"
        if not ledger.exists():
            raise Broken(f"no record: {(done.stdout + done.stderr).strip()[-300:]}")
        return done.returncode, [json.loads(line) for line in ledger.read_text().splitlines()]


def places(records: list[dict[str, Any]], device: str) -> str:
    found = sorted({f"{each['status']} on {each['device'] or 'nothing'}" for each in records})
    if found != [f"completed on {device}"]:
        raise Broken("; ".join(found))
    return f"{len(records)} trials {found[0]}"


def trials_without_gpus_stay_on_the_cpu(device: torch.device) -> str:
    return places(swept()[1], "cpu")


def a_trial_that_reserves_a_gpu_is_on_it(device: torch.device) -> str:
    return places(swept("--gpus-per-trial", "1")[1], torch.cuda.get_device_name(device))


def fractions_share_a_gpu(device: torch.device) -> str:
    return places(swept("--gpus-per-trial", "0.25")[1], torch.cuda.get_device_name(device))


def measured_memory_packs_a_gpu(device: torch.device) -> str:
    return places(swept("--set", "resources.gpu_memory=auto")[1], torch.cuda.get_device_name(device))


def too_large_a_trial_harms_no_other(device: torch.device) -> str:
    wide = "{model: vit, depth: 24, embed_dim: 4096, num_heads: 64, patch_size: 4}"
    text = SWEEP.replace("space: {arch.attention: [softmax, reattention, refiner]}", f"space: {{arch: [{wide}]}}")
    _, records = swept("--gpus-per-trial", "0.1", text=text)
    small = [each for each in records if each["variant"] == "baseline"]
    large = [each for each in records if each["variant"] != "baseline"]
    if {each["status"] for each in small} != {"completed"}:
        raise Broken(f"the others: {sorted({each['status'] for each in small})}")
    failures = {(each.get("failure") or {}).get("type", each["status"]) for each in large}
    if failures - {"OutOfMemory", "completed"}:
        raise Broken(f"the large ones: {sorted(failures)}")
    return f"small ones completed; large ones: {', '.join(sorted(failures))}"


def refuses_where_there_is_no_gpu(device: torch.device) -> str:
    code, records = swept("--gpus-per-trial", "1", "--engine", "in-process")
    if code != 2 or records:
        raise Broken(f"exit code {code}, {len(records)} records")
    return "exit code 2, no record"


PROMISES = [
    *(promise for precision in PRECISIONS for promise in mechanism_promises(precision)),
    Promise("float32 training as on a CPU", trains_as_a_cpu_does, on_cpu=False),
    Promise("train.deterministic repeats every bit", repeats_its_bits),
    Promise("an interrupted deterministic trial resumes with the same bits", resumes_with_the_same_bits),
    Promise("a trial leaves no memory behind", leaves_no_memory_behind, on_cpu=False),
    Promise("trials without GPUs stay on the CPU", trials_without_gpus_stay_on_the_cpu),
    Promise("a trial that reserves a GPU is on it", a_trial_that_reserves_a_gpu_is_on_it, on_cpu=False),
    Promise("gpus: 0.25 shares a GPU", fractions_share_a_gpu, on_cpu=False),
    Promise("gpu_memory: auto packs a GPU", measured_memory_packs_a_gpu, on_cpu=False),
    Promise("a trial out of memory harms no other", too_large_a_trial_harms_no_other, on_cpu=False),
    Promise("images a second: at least 0.9 of a bare loop", speed_of_timm),
    Promise("(no promise) maps in float32 over maps in bfloat16", cost_of_exact_maps),
]
WITHOUT_GPU = Promise("a trial that reserves a GPU is refused where there is none", refuses_where_there_is_no_gpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU if there is one")
    device = torch.device(parser.parse_args().device or ("cuda" if torch.cuda.is_available() else "cpu"))
    is_gpu = device.type == "cuda"
    torch.set_num_threads(1)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product, for deterministic trials
    print(f"on {torch.cuda.get_device_name(device) if is_gpu else 'a CPU'}, torch {torch.__version__}", flush=True)
    num_broken = num_skipped = 0
    for promise in PROMISES if is_gpu else [*PROMISES, WITHOUT_GPU]:
        if not is_gpu and not promise.on_cpu:
            num_skipped += 1
            print(f"{'not run':8} {promise.text}: needs a GPU", flush=True)
            continue
        began = time.perf_counter()
        try:
            verdict, measured = "holds", promise.check(device)
        except Exception as err:
            verdict, measured = "BROKEN", str(err) if isinstance(err, Broken) else f"{type(err).__name__}: {err}"
            num_broken += 1
        print(f"{verdict:8} {promise.text}: {measured} ({time.perf_counter() - began:.0f} s)", flush=True)
    print(f"{num_broken} broken, {num_skipped} not run")
    if num_broken:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
