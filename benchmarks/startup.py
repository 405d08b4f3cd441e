"""What it takes before anything is trained: CPU seconds of the verbs, and of a run on Ray with all of its processes.

Beside an older archsweep in another folder (a worktree of 0.1.0, commit 5ad6dd2), round by round in alternation, each
command in a process of its own. The run has 8 trials of one epoch on two workers, with the numerics of 0.1.0
(`single`). Before anything is timed, both trees train that run in-process: the same trials must have the same top1. Its
CPU seconds on Ray are those of every process, read from /proc; what the training itself takes is measured by a plain
loop and taken off, so that the rest is fixed.

    python benchmarks/startup.py --against ../archsweep-0.1.0
    python benchmarks/startup.py --against ../archsweep-0.1.0 --ray --rounds 5

Both trees compile their modules once, into a cache of this script's or the one that PYTHONPYCACHEPREFIX names, and have
a cache folder of their own, of which trials are not taken: a user who has run anything before has both. `--first`
empties that folder before every command.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
SWEEP = """
name: startup
baseline:
  arch: {model: vit, depth: 2, embed_dim: 60, num_heads: 4, mlp_ratio: 2, patch_size: 2, class_token: false}
  task: {name: classification, dataset: builtin/digits}
  train: {epochs: 1, batch_size: 32, lr: 3e-3}
space: {arch.attention: [softmax, reattention, refiner, groupmix]}
design: one_factor
seeds: 2
metric: top1
resources: {cpus: 1, gpus: 0, max_concurrent: 2}
"""
TRAINING = """
import sys, time
import torch
from runners.training.trial import run_trial
from search_space import Resources, load_sweep, variants
torch.set_num_threads(1)
file = load_sweep(sys.argv[1], overrides=sys.argv[2:])
began = time.process_time()
for variant in variants(file.sweep):
    for seed in file.sweep.seeds:
        run_trial(variant.setting.with_seed(seed), report=lambda metrics: False, resources=Resources())
print(time.process_time() - began)
"""
VERBS = ("help", "check", "status", "ls", "plan")
AS_OLD = {"old": [], "new": ["--set", "train.numerics=single"]}
TICKS = os.sysconf("SC_CLK_TCK")
LOOK_EVERY_SECONDS = 0.2


def command(tree: Path, *arguments: str) -> list[str]:
    """The command of a tree; 0.1.0 has no package of the name."""
    return [sys.executable, "-m", "archsweep" if (tree / "archsweep").is_dir() else "runners.cli", *arguments]


def environment(tree: Path, compiled: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    memory = compiled.with_name("cache") / tree.name
    own = {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "ARCHSWEEP_CACHE": str(memory)}
    return {"PYTHONPYCACHEPREFIX": str(compiled), **kept, **own}


def cpu_seconds(arguments: list[str], env: dict[str, str], folder: Path) -> float:
    """Of the command and the processes that it waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(arguments, env=env, cwd=folder, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def processes() -> dict[int, tuple[int, float]]:
    """Process -> its parent and its CPU seconds."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        found[int(entry.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS
    return found


def kind_of(pid: int, root: int) -> str:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
    if not line:  # it has ended, and its parent has not looked yet
        return ""
    if pid == root:
        return "driver"
    if name in ("asw-forkserver", "asw-trial"):  # forks of the driver, with its command line
        return "trials and their forkservers"
    kinds = {"forkserver": "trials and their forkservers", "ray::TrialWorker": "actors"}
    kinds |= {"ray::ResourceTrainable": "actors", "gcs_server": "raylet and gcs"}
    kinds |= {"raylet/raylet": "raylet and gcs", "ray::IDLE": "idle workers"}
    return next((kind for part, kind in kinds.items() if part in line), "Ray's agents and monitors")


def of_all_processes(arguments: list[str], env: dict[str, str], folder: Path) -> tuple[dict[str, float], float]:
    """CPU seconds of the command's whole tree by kind of process, and its wall seconds."""
    began = time.monotonic()
    started = subprocess.Popen(arguments, env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    mine, seconds, kinds = {started.pid}, {}, defaultdict(str)
    while started.poll() is None:
        found = processes()
        while more := {pid for pid, (parent, _) in found.items() if parent in mine} - mine:
            mine |= more
        for pid in mine & set(found):
            seconds[pid] = found[pid][1]
            kinds[pid] = kind_of(pid, started.pid) or kinds[pid]
        time.sleep(LOOK_EVERY_SECONDS)
    assert started.returncode == 0, arguments
    total: Counter[str] = Counter()
    for pid, value in seconds.items():
        total[kinds[pid]] += value
    return dict(total), time.monotonic() - began


def top1_of(run: Path) -> dict[str, str]:
    with (run / "trials.csv").open() as stream:
        return {f"{row['variant']} {row['seed']}": row["top1"] for row in csv.DictReader(stream)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--against", type=Path, required=True, help="folder of the older archsweep")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="*", choices=VERBS, default=VERBS, help="these verbs")
    parser.add_argument("--ray", action="store_true", help="a run on Ray instead of the verbs")
    parser.add_argument("--first", action="store_true", help="with an empty cache folder for every command")
    given = parser.parse_args()
    trees = {"old": given.against.resolve(), "new": HERE}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "sweep.yaml").write_text(SWEEP)
        envs = {name: environment(tree, folder / "compiled") for name, tree in trees.items()}
        for name, env in envs.items():
            run = command(
                trees[name], "run", "sweep.yaml", *AS_OLD[name], "--engine", "in-process", "--no-cache", "--out", name
            )
            subprocess.run(run, env=env, cwd=folder, capture_output=True, check=True)
        assert top1_of(folder / "old") == top1_of(folder / "new"), "the two versions train different trials"
        if given.ray:
            measure_ray(trees, envs, folder, given.rounds, is_first=given.first)
        else:
            measure_verbs(trees, envs, folder, given.rounds, given.only, is_first=given.first)


def measure_verbs(
    trees: dict[str, Path],
    envs: dict[str, dict[str, str]],
    folder: Path,
    rounds: int,
    verbs: list[str],
    *,
    is_first: bool,
) -> None:
    of = {"check": ["sweep.yaml"], "plan": ["sweep.yaml", "--no-cache"]}
    print(f"{'verb':8} {'old s':>7} {'new s':>7} {'ratio':>6}")
    for verb in verbs:
        took: dict[str, list[float]] = {name: [] for name in envs}
        for _ in range(rounds + 1):  # the first one compiles
            for name, env in envs.items():
                if is_first:
                    shutil.rmtree(env["ARCHSWEEP_CACHE"], ignore_errors=True)
                arguments = ["--help"] if verb == "help" else [verb, *of.get(verb, [name])]
                took[name].append(cpu_seconds(command(trees[name], *arguments), env, folder))
        old, new = took["old"][1:], took["new"][1:]
        ratio = statistics.median(after / before for before, after in zip(old, new, strict=True))
        print(f"{verb:8} {statistics.median(old):7.2f} {statistics.median(new):7.2f} {ratio:6.2f}", flush=True)


def measure_ray(
    trees: dict[str, Path], envs: dict[str, dict[str, str]], folder: Path, rounds: int, *, is_first: bool
) -> None:
    loop = [sys.executable, "-c", TRAINING, "sweep.yaml", *AS_OLD["new"][1:]]
    shares: dict[str, list[dict[str, float]]] = {name: [] for name in envs}
    fixed: dict[str, list[float]] = {name: [] for name in envs}
    walls: dict[str, list[float]] = {name: [] for name in envs}
    for number in range(rounds):
        done = subprocess.run(loop, env=envs["new"], cwd=folder, capture_output=True, text=True, check=True)
        training = float(done.stdout)
        for name, env in envs.items():
            out = f"{name}-ray-{number}"
            run = command(trees[name], "run", "sweep.yaml", *AS_OLD[name], "--no-cache", "--out", out)
            if is_first:
                shutil.rmtree(env["ARCHSWEEP_CACHE"], ignore_errors=True)
            found, wall = of_all_processes(run, env, folder)
            assert top1_of(folder / out) == top1_of(folder / name)
            shares[name].append(found)
            fixed[name].append(sum(found.values()) - training)
            walls[name].append(wall)
        ratios = {what: each["new"][-1] / each["old"][-1] for what, each in (("fixed", fixed), ("wall", walls))}
        print(f"round {number + 1}: training {training:.1f} CPU s, new/old {ratios}", flush=True)
    print(f"{'CPU seconds of':32} {'old':>6} {'new':>6}")
    for kind in sorted({kind for each in shares.values() for found in each for kind in found}):
        medians = [statistics.median(found.get(kind, 0.0) for found in shares[name]) for name in ("old", "new")]
        print(f"{kind:32} {medians[0]:6.1f} {medians[1]:6.1f}")
    for what, each in (("fixed CPU seconds", fixed), ("wall seconds", walls)):
        ratio = statistics.median(after / before for before, after in zip(each["old"], each["new"], strict=True))
        print(
            f"{what:32} {statistics.median(each['old']):6.1f} {statistics.median(each['new']):6.1f}  ratio {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
