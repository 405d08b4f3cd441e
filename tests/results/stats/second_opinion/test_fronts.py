"""Fronts, order and means of random searches by comparing every pair of rows."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from results import RunPlan, TrialRecord, ablation_table

from .studies import lines_of

pytestmark = pytest.mark.thorough

SIGNS = {"top1": -1, "loss": 1, "gmacs": 1, "params_m": 1}


def fronts(points: dict[str, tuple[float, ...]]) -> dict[str, int]:
    """By definition: the front of the points left is of those that no other one dominates."""
    found: dict[str, int] = {}
    while left := {name: point for name, point in points.items() if name not in found}:
        stays = [
            name
            for name, mine in left.items()
            if not any(
                all(a <= b for a, b in zip(other, mine, strict=True)) and other != mine for other in left.values()
            )
        ]
        found |= dict.fromkeys(stays, max(found.values(), default=0) + 1)
    return found


@pytest.mark.parametrize("number", range(20))
def test_fronts_and_order_of_random_searches(number):
    random = np.random.default_rng([37, number])
    seeds = list(range(int(random.integers(1, 4))))
    chosen = [str(name) for name in random.permutation(list(SIGNS))[: int(random.integers(0, 4))]]
    objectives = chosen if len(chosen) != 1 else []
    records: list[TrialRecord] = []
    means: dict[str, dict[str, float]] = {}
    complete = {}
    for index in range(int(random.integers(2, 25))):
        name = f"v{index:02}"
        grid = random.integers(0, 4, 4).astype(float)  # ties
        costs = {"gmacs": grid[2], "params_m": grid[3]}
        done = [seed for seed in seeds if random.random() < 0.95]
        for seed in seeds:
            fields = {"trial_id": f"{name}-{seed}", "variant_id": name, "variant": name, "seed": seed, "spec": {}}
            fields |= {"changes": {"arch.depth": 100 + index} if index else {}, **costs}
            metrics = {"top1": grid[0] + seed, "loss": grid[1] * (1 + seed)}
            status = {"status": "completed", "metrics": metrics} if seed in done else {"status": "pruned", "epochs": 2}
            records.append(TrialRecord.model_validate({**fields, **status}))
        if done:
            means[name] = costs | {
                "top1": statistics.mean(grid[0] + seed for seed in done),
                "loss": statistics.mean(grid[1] * (1 + seed) for seed in done),
            }
        complete[name] = len(done) == len(seeds)
    plan = {"sweep": "search", "design": "search", "metric": "top1", "seeds": seeds, "objectives": objectives}
    lines = lines_of(ablation_table(RunPlan.model_validate(plan), records))
    whole = {name: tuple(SIGNS[o] * means[name][o] for o in objectives) for name in means if complete[name]}
    expected = fronts(whole) if objectives else {}
    place = {name: 0 if complete[name] else 1 if name in means else 2 for name in complete}
    order = sorted(
        complete,
        key=lambda n: (place[n], expected.get(n, np.inf), -means[n]["top1"] if n in means else 0.0, n),
    )
    assert [line["variant"] for line in lines] == order
    for line in lines:
        name = line["variant"]
        assert line.get("front", "") == str(expected.get(name, ""))
        assert line["top1_mean"] == (repr(float(means[name]["top1"])) if name in means else "")
        assert (line["p"], line["p_corrected"]) == ("", "")  # rows of a search were selected by their values
        assert line["verdict"] == ("incomplete" if "incomplete" in line["verdict"] else "")
