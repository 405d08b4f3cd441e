"""A small run with everything that tables and figures have to deal with, for their contract tests."""

from __future__ import annotations

from pathlib import Path

from results.figures.figure import Evidence
from results.plan.run_plan import PlannedVariant, RunPlan
from results.store.records import Failure, TrialRecord
from results.store.run import Run
from results.table.build import ablation_table
from results.table.table import AblationTable

__all__ = ["HOSTILE", "empty_evidence", "example_evidence", "example_table"]

HOSTILE = "<b>a|b</b> & \\x `y` \x1b[2J\u202eline\nbreak"
"""Name that each format has to escape in its own way, with a control character and a line break."""

_MEANS = {"baseline": 90.0, "attention=mine": 92.5, HOSTILE: 88.25, "": 91.0}


def example_table() -> AblationTable:
    """Four variants of three seeds: one of hostile name, one without a name, one failed and one missing trial."""
    return ablation_table(_plan(), _records())


def example_evidence() -> Evidence:
    """The same run for figures; its directory does not exist."""
    return Evidence(Run(Path("no-such-run"), _plan(), _records()), example_table())


def empty_evidence() -> Evidence:
    """A run that has been planned, and has no record yet."""
    return Evidence(Run(Path("no-such-run"), _plan(), ()), ablation_table(_plan(), ()))


def _plan() -> RunPlan:
    variants = [
        PlannedVariant.model_validate(
            {
                "name": name,
                "variant_id": f"v{index}",
                "is_baseline": index == 0,
                "changes": {"arch.attention": "mine"} if index else {},
                "params_m": 0.1 + index / 100,
                "gmacs": 0.002,
            }
        )
        for index, name in enumerate(_MEANS)
    ]
    plain = {"sweep": HOSTILE, "design": "one_factor", "metric": "top1", "seeds": [0, 1, 2]}
    return RunPlan.model_validate({**plain, "variants": variants, "dataset": "builtin/digits", "epochs": 20})


def _records() -> tuple[TrialRecord, ...]:
    found = []
    for index, (name, mean) in enumerate(_MEANS.items()):
        for seed in range(3 if name else 2):
            failed = name == HOSTILE and seed == 2
            metrics = {} if failed else {"top1": mean + seed / 4, "loss": 0.5 - seed / 8}
            found.append(
                TrialRecord(
                    trial_id=f"t{index}{seed}",
                    variant_id=f"v{index}",
                    variant=name,
                    seed=seed,
                    spec={"seed": seed},
                    status="failed" if failed else "completed",
                    metrics=metrics,
                    curve=[{"epoch": 1, "top1": mean - 20.0, "loss": 1.0}, {"epoch": 20, **metrics}] if metrics else [],
                    failure=Failure(type="NonFiniteLoss", message=HOSTILE, epoch=3) if failed else None,
                    train_seconds=8.0 + index,
                )
            )
    return tuple(found)
