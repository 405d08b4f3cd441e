"""Columns of tables with blocks against scipy: folds of one dataset, and datasets of different names."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import stats

from results import PlannedVariant, RunPlan, TrialRecord, ablation_table

from .opinion import ROUNDING, Delta, correct
from .studies import lines_of

pytestmark = pytest.mark.thorough

Values = dict[str, dict[str, dict[int, float]]]  # arm -> block -> seed -> value


@dataclass(frozen=True)
class Blocked:
    kind: str
    blocks: list[str]
    seeds: list[int]
    values: Values
    analysis: dict[str, Any]
    train_images: list[int]
    test_images: list[int]


def random_blocks(number: int) -> Blocked:
    random = np.random.default_rng([23, number])
    kind = str(random.choice(["folds", "splits", "datasets", "datasets"]))
    blocks = [f"b{at}" for at in range(int(random.choice([2, 3, 5, 6, 8, 10, 17, 21])))]
    seeds = list(range(int(random.choice([1, 2, 3, 5]))))
    level = {block: random.uniform(20, 95) for block in blocks}
    step = 0.25 if random.random() < 0.5 else 0.0  # ties between blocks, and blocks without a difference
    values: Values = {}
    for name in ["baseline", *(f"arm{index}" for index in range(int(random.integers(1, 7))))]:
        effect = 0.0 if name == "baseline" else random.normal(0, 1)
        values[name] = {}
        for block in blocks:
            size = random.choice([0.3, 1, 10], p=[0.6, 0.3, 0.1])  # large ones against many small ones
            found = level[block] + effect + random.normal(0, size, len(seeds))
            found = np.round(found / step) * step if step else found
            values[name][block] = {s: float(v) for s, v in zip(seeds, found, strict=True) if random.random() < 0.995}
    analysis: dict[str, Any] = {
        "correction": str(random.choice(["holm", "bh", "none"])),
        "alpha": float(random.choice([0.05, 0.1, 0.01])),
        "interval": str(random.choice(["unadjusted", "simultaneous"])),
    }
    if kind != "datasets" and random.random() < 0.5:
        analysis["margin"] = float(random.uniform(0.3, 3))
    sizes = [[int(one) for one in random.integers(5, 500, len(blocks))] for _ in range(2)]
    return Blocked(kind, blocks, seeds, values, analysis, *sizes)


def csv_of(made: Blocked) -> list[dict[str, str]]:
    variants, records = [], []
    for block in made.blocks:
        for name, of_blocks in made.values.items():
            key = f"{name}-{block}"
            changes = {} if name == "baseline" else {"arch.depth": 100 + list(made.values).index(name)}
            variants.append(
                PlannedVariant(
                    name=f"{name} [{block}]",
                    variant_id=key,
                    block=block,
                    treatment=f"{name}-{made.blocks[0]}",
                    is_baseline=name == "baseline",
                    changes=changes,
                )
            )
            records += [
                TrialRecord(
                    trial_id=f"{key}-{seed}",
                    variant_id=key,
                    variant=f"{name} [{block}]",
                    seed=seed,
                    spec={},
                    status="completed",
                    metrics={"top1": value},
                    block=block,
                    changes=changes,
                )
                for seed, value in of_blocks[block].items()
            ]
    described = {"path": "task.dataset", "names": made.blocks, "kind": made.kind}
    if made.kind != "datasets":
        described |= {"train_images": made.train_images, "test_images": made.test_images}
    plan = RunPlan.model_validate(
        {
            **{"sweep": "blocks", "design": "one_factor", "metric": "top1", "seeds": made.seeds},
            **{"variants": variants, "analysis": made.analysis, "blocks": described},
        }
    )
    return lines_of(ablation_table(plan, records))


def opinion(made: Blocked) -> list[dict[str, Any]]:
    base, arms = made.values["baseline"], [name for name in made.values if name != "baseline"]
    rows: dict[str, dict[str, Any]] = {}
    raw: dict[tuple[str, str], float] = {}
    directions: dict[str, float] = {}
    for name, of_blocks in made.values.items():
        rows[name] = row = {}
        whole = all(of_blocks[block] for block in made.blocks)
        means = [statistics.mean(of_blocks[block].values()) for block in made.blocks if of_blocks[block]]
        is_known = bool(means) and (whole or made.kind != "datasets")
        row["top1_mean"] = statistics.mean(means) if is_known else None
        row["top1_std"] = statistics.stdev(means) if made.kind != "datasets" and len(means) > 1 else None
        deltas: dict[str, Delta | None] = {}
        for block in made.blocks:
            mine, theirs = of_blocks[block], base[block]
            delta = Delta(mine, theirs) if name != "baseline" and set(mine) & set(theirs) else None
            deltas[block] = delta
            low, high = (None, None) if delta is None or delta.num < 2 else delta.interval(made.analysis["alpha"])
            row |= {
                f"top1_mean@{block}": statistics.mean(mine.values()) if mine else None,
                f"top1_std@{block}": statistics.stdev(mine.values()) if len(mine) > 1 else None,
                f"top1_delta@{block}": None if delta is None else delta.mean,
                f"top1_delta_low@{block}": low,
                f"top1_delta_high@{block}": high,
                f"top1_delta_pairs@{block}": None if delta is None else delta.num,
            }
        present = [delta for delta in deltas.values() if delta is not None]
        scale = max((delta.scale for delta in present), default=0.0)
        # Differences of blocks are rounded as those of seeds.
        d = [0.0 if abs(delta.mean) <= ROUNDING * scale else delta.mean for delta in present]
        if made.kind == "datasets":
            d = d if len(d) == len(made.blocks) else []
        row |= {
            "top1_delta": statistics.mean(d) if d else None,
            "delta_pairs": len(d) or None,
            "top1_delta_std": statistics.stdev(d) if made.kind != "datasets" and len(d) > 1 else None,
            **dict.fromkeys(("top1_delta_low", "top1_delta_high", "p", "p_corrected", "p_equivalence")),
            **dict.fromkeys(("p_equivalence_corrected", "verdict", "p_sign_flip", "bootstrap_low", "bootstrap_high")),
            "test": None,
        }
        if name == "baseline":
            continue
        complete = all(len(one[block]) == len(made.seeds) for one in (of_blocks, base) for block in made.blocks)
        row["verdict"] = None if complete else "incomplete"
        if made.kind == "datasets":
            kept = np.array([each for each in d if each])
            if complete and len(made.blocks) >= 6:
                row["verdict"] = "inconclusive"
                if len(kept) >= 6:
                    raw[name, "p"], directions[name] = wilcoxon(kept)
        elif len(d) > 1:
            # Nadeau and Bengio: the variance of the mean is (1/k + n_test/n_train) s^2 in place of s^2 / k.
            wider = math.sqrt(1 + len(d) * sum(made.test_images) / sum(made.train_images))
            share = len(arms) if made.analysis["interval"] == "simultaneous" else 1
            mean, std = row["top1_delta"], row["top1_delta_std"]
            error = std / math.sqrt(len(d)) * wider
            half = stats.t.isf(made.analysis["alpha"] / share / 2, len(d) - 1) * error
            row["top1_delta_low"], row["top1_delta_high"] = mean - half, mean + half
            if complete and len(d) >= 3:
                row["verdict"] = "inconclusive"
                directions[name] = mean
                if std > max(ROUNDING * scale, 1e-9 * abs(mean)):
                    raw[name, "p"] = 2 * stats.t.sf(abs(stats.ttest_1samp(d, 0.0).statistic) / wider, len(d) - 1)
                    if (margin := made.analysis.get("margin")) is not None:
                        raw[name, "p_equivalence"] = stats.t.sf((margin - abs(mean)) / error, len(d) - 1)
    after = correct(list(raw.values()), len(arms), made.analysis["correction"], has_margin="margin" in made.analysis)
    for ((name, which), p), corrected in zip(raw.items(), after, strict=True):
        rows[name] |= {which: float(p), f"{which}_corrected": corrected}
        rows[name]["test"] = "wilcoxon" if made.kind == "datasets" else "corrected_resampled_t"
    for name, direction in directions.items():
        if (rows[name]["p_equivalence_corrected"] or 1) < made.analysis["alpha"]:
            rows[name]["verdict"] = "equivalent"
        elif (rows[name]["p_corrected"] or 1) < made.analysis["alpha"]:
            rows[name]["verdict"] = "better" if direction > 0 else "worse"
    return list(rows.values())


def wilcoxon(d: np.ndarray) -> tuple[float, float]:
    """Exact p-value of scipy and the sum of signed ranks. Sizes that are equal up to rounding share their mean rank, so
    that with ties all assignments of signs to the ranks are looked at: scipy's exact distribution has no ties."""
    ranks = stats.rankdata(np.round(np.abs(d), 9))
    total = float((ranks * np.sign(d)).sum())
    if len(set(ranks)) == len(ranks):
        return float(stats.wilcoxon(d, method="exact").pvalue), total
    if len(d) <= 12:
        signed = np.sign(d) * np.round(np.abs(d), 9)
        exact = stats.wilcoxon(signed, method=stats.PermutationMethod(n_resamples=np.inf))
        return float(exact.pvalue), total
    sums = np.zeros(1)
    for rank in ranks:
        sums = np.concatenate([sums + rank, sums - rank])
    return float(np.mean(np.abs(sums) >= abs(total))), total


def check(number: int) -> None:
    made = random_blocks(number)
    for line, row in zip(csv_of(made), opinion(made), strict=True):
        for name, expected in row.items():
            if isinstance(expected, float):
                spread = 1e-12 * max(abs(row["top1_delta_std"] or 0.0), abs(row["top1_delta"] or 0.0))
                assert float(line[name]) == pytest.approx(expected, rel=1e-10, abs=spread), (number, name)
            else:
                assert line[name] == ("" if expected is None else str(expected)), (number, line["variant"], name)
        left = {name for name in line if name not in row and name.startswith(("top1", "p_", "delta"))}
        assert left == {"top1_test_error"}


@pytest.mark.parametrize("number", range(16))
def test_columns_of_tables_with_blocks_are_those_of_scipy(number):
    check(number)


@pytest.mark.slow
def test_columns_of_many_more_tables_with_blocks():
    for number in range(16, 250):
        check(number)
