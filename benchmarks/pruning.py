"""What does pruning save, and does it still find what no pruning finds? Recorded curves, replayed in many orders.

    python benchmarks/pruning.py [--orders 300] [--slots 4] [--curves FILE]
    python benchmarks/pruning.py --record RUN --curves FILE

The curves are of real trainings, each to its end. A replay gives them to `slots` workers in a random order; an epoch
takes the time it took. A pruner sees what it would have seen and stops what it would have stopped, so that the only
difference between two lines is the rule. Ours are the classes that the driver uses (`runners/search/pruning.py`); ASHA
is Ray Tune's own scheduler. What is chosen is the best of the trials that were trained to their end.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from results import Run, TrialRecord
from runners.search.pruning import EpochPruning
from runners.trials.assignment import Assignment
from runners.trials.objectives import objective
from search_space import Variant, load_sweep_text

__all__ = ["RULES", "Curve", "Replay", "replay"]

_CURVES = Path(__file__).parent / "curves" / "search_digits.json"


@dataclass(frozen=True)
class Curve:
    """One training: the validation metric after every epoch (higher is better), and the seconds of an epoch."""

    name: str
    values: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class Replay:
    """What a rule cost and chose: share of the epochs and of the seconds of no pruning, and the trial it ended with."""

    epochs: float
    seconds: float
    chosen: Curve | None


class Rule(Protocol):
    def start(self, number: int) -> None: ...

    def stops(self, number: int, epoch: int, value: float) -> bool: ...

    def end(self, number: int, epoch: int, value: float, *, is_pruned: bool) -> None: ...


class _Pruner:
    """A pruner of Optuna, driven as archsweep drives it."""

    def __init__(self, section: str, epochs: int) -> None:
        text = f"name: replay\nbaseline: {{train: {{epochs: {epochs}}}}}\nspace: {{}}\ndesign: factorial\n"
        sweep = load_sweep_text(f"{text}prune: {section.replace('EPOCHS', str(epochs))}\n").sweep
        self._pruning = EpochPruning(sweep)
        self._spec = sweep.baseline.with_seed(0)
        self._variant = Variant("replay", {}, sweep.baseline)

    def start(self, number: int) -> None:
        self._pruning.start(Assignment(str(number), self._spec, self._variant))

    def stops(self, number: int, epoch: int, value: float) -> bool:
        return self._pruning.report(str(number), epoch, value)

    def end(self, number: int, epoch: int, value: float, *, is_pruned: bool) -> None:
        fields = {"trial_id": str(number), "variant_id": "", "variant": "", "seed": 0, "spec": {}}
        status = "pruned" if is_pruned else "completed"
        self._pruning.finish(TrialRecord(**fields, status=status, epochs=epoch, metrics={"top1": value}))


class _Asha:
    """Ray Tune's asynchronous successive halving."""

    def __init__(self, epochs: int, **options: int) -> None:
        from ray.tune.schedulers import ASHAScheduler, TrialScheduler

        self._scheduler: Any = ASHAScheduler(time_attr="epoch", metric="top1", mode="max", max_t=epochs, **options)
        self._stop = TrialScheduler.STOP

    def start(self, number: int) -> None:
        self._scheduler.on_trial_add(None, SimpleNamespace(trial_id=str(number)))

    def stops(self, number: int, epoch: int, value: float) -> bool:
        result = {"epoch": epoch, "top1": value}
        return self._scheduler.on_trial_result(None, SimpleNamespace(trial_id=str(number)), result) == self._stop

    def end(self, number: int, epoch: int, value: float, *, is_pruned: bool) -> None:
        result = {"epoch": epoch, "top1": value}
        self._scheduler.on_trial_complete(None, SimpleNamespace(trial_id=str(number)), result)


RULES = {
    "none": lambda epochs: _Pruner("{pruner: nop}", epochs),
    "median": lambda epochs: _Pruner("{pruner: median, n_startup_trials: 5, n_warmup_steps: 3}", epochs),
    "percentile 25": lambda epochs: _Pruner(
        "{pruner: percentile, percentile: 25.0, n_startup_trials: 5, n_warmup_steps: 3}", epochs
    ),
    "patient median": lambda epochs: _Pruner("{pruner: patient, wrapped_pruner: median, patience: 2}", epochs),
    "successive halving": lambda epochs: _Pruner(
        "{pruner: successive_halving, min_resource: 1, reduction_factor: 3}", epochs
    ),
    "hyperband": lambda epochs: _Pruner(
        "{pruner: hyperband, min_resource: 1, max_resource: EPOCHS, reduction_factor: 3}", epochs
    ),
    "Ray ASHA": lambda epochs: _Asha(epochs, grace_period=1, reduction_factor=3),
    "Ray ASHA, grace 3": lambda epochs: _Asha(epochs, grace_period=3, reduction_factor=3),
}


def replay(curves: Sequence[Curve], rule: Rule, *, slots: int) -> Replay:
    """Trains the curves in their order on so many workers; a stopped trial frees its worker at once."""
    waiting = list(enumerate(curves))[::-1]
    running: list[tuple[float, int, int]] = []  # when the next epoch ends, trial, that epoch
    chosen: Curve | None = None
    epochs = seconds = 0.0

    def start(now: float) -> None:
        if waiting:
            number, curve = waiting.pop()
            rule.start(number)
            heapq.heappush(running, (now + curve.seconds, number, 1))

    for _ in range(slots):
        start(0.0)
    while running:
        now, number, epoch = heapq.heappop(running)
        curve = curves[number]
        value = curve.values[epoch - 1]
        epochs, seconds = epochs + 1, seconds + curve.seconds
        is_last = epoch == len(curve.values)
        is_stopped = rule.stops(number, epoch, value) and not is_last  # the last epoch is paid for
        if not is_last and not is_stopped:
            heapq.heappush(running, (now + curve.seconds, number, epoch + 1))
            continue
        rule.end(number, epoch, value, is_pruned=is_stopped)
        if is_last and (chosen is None or value > chosen.values[-1]):
            chosen = curve
        start(now)
    whole = sum(len(curve.values) * curve.seconds for curve in curves)
    return Replay(epochs / sum(len(curve.values) for curve in curves), seconds / whole, chosen)


def read_curves(path: Path) -> list[Curve]:
    """The curves of a file that `--record` wrote."""
    return [Curve(each["name"], tuple(each["values"]), each["seconds"]) for each in json.loads(path.read_text())]


def record_curves(run: Path, path: Path) -> int:
    """Writes the curves of the completed trials of a run; returns how many."""
    opened = Run.open(run)
    found = []
    for record in opened.deciding.values():
        if record.status == "completed" and record.train_seconds:
            values = [objective(point, opened.plan.metric) for point in record.curve]
            seconds = round(record.train_seconds / record.epochs, 4)
            found.append({"name": record.variant, "values": [round(v or 0.0, 3) for v in values], "seconds": seconds})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(map(json.dumps, found)) + "\n]\n")
    return len(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=300)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--curves", type=Path, default=_CURVES)
    parser.add_argument("--record", type=Path, metavar="RUN")
    options = parser.parse_args()
    if options.record:
        print(f"{record_curves(options.record, options.curves)} curves in {options.curves}")
        return
    curves = read_curves(options.curves)
    finals = sorted((curve.values[-1] for curve in curves), reverse=True)
    print(
        f"{len(curves)} curves of {len(curves[0].values)} epochs, finals {finals[-1]:.2f} to {finals[0]:.2f}, "
        f"{options.orders} orders, {options.slots} workers"
    )
    print(f"{'rule':20}{'epochs %':>10}{'time %':>9}{'same choice %':>15}{'in best 5 %':>13}{'lost points':>13}")
    for name, make in RULES.items():
        found = []
        for seed in range(options.orders):
            order = random.Random(seed).sample(curves, len(curves))
            found.append(replay(order, make(len(curves[0].values)), slots=options.slots))
        lost = [finals[0] - each.chosen.values[-1] for each in found if each.chosen]
        print(
            f"{name:20}{100 * statistics.fmean(each.epochs for each in found):10.1f}"
            f"{100 * statistics.fmean(each.seconds for each in found):9.1f}"
            f"{100 * sum(points == 0 for points in lost) / len(found):15.1f}"
            f"{100 * sum(finals[0] - points >= finals[4] for points in lost) / len(found):13.1f}"
            f"{statistics.fmean(lost):13.3f}"
        )


if __name__ == "__main__":
    main()
