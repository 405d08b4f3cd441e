"""Plans and records of small sweeps, written out by hand."""

from __future__ import annotations

import pytest

from results import Failure, PlannedVariant, RunPlan, TrialRecord


def record(variant: str, seed: int, top1: float | None = None, **fields) -> TrialRecord:
    """A trial of the variant; `completed` if it has a top1."""
    base = {
        "trial_id": f"{variant}-{seed}",
        "variant_id": f"id-{variant}",
        "variant": variant,
        "seed": seed,
        "spec": {"seed": seed},
        "status": "failed" if top1 is None else "completed",
        "metrics": {} if top1 is None else {"top1": top1},
    }
    return TrialRecord.model_validate({**base, **fields})


def planned(name: str, **fields) -> PlannedVariant:
    return PlannedVariant.model_validate({"name": name, "variant_id": f"id-{name}", **fields})


def plan(*variants: PlannedVariant, **fields) -> RunPlan:
    base = {
        "sweep": "refiner_expansion",
        "design": "one_factor",
        "metric": "top1",
        "seeds": [0, 1, 2],
        "variants": list(variants),
        "dataset": "builtin/digits",
        "epochs": 20,
    }
    return RunPlan.model_validate({**base, **fields})


@pytest.fixture(name="record")
def record_fixture():
    return record


@pytest.fixture(name="planned")
def planned_fixture():
    return planned


@pytest.fixture(name="plan")
def plan_fixture():
    return plan


@pytest.fixture
def quickstart_plan() -> RunPlan:
    """Four mechanisms, three seeds, one dropped variant, one published row that fits and one that does not."""
    return plan(
        planned("baseline", is_baseline=True, params_m=0.1042, gmacs=0.00182),
        planned("attention=reattention", changes={"arch.attention": "reattention"}, params_m=0.1043, gmacs=0.00186),
        planned(
            "attention=refiner expansion=6",
            changes={"arch.attention": {"name": "refiner", "expansion": 6}},
            params_m=0.1071,
            gmacs=0.00331,
        ),
        planned("attention=groupmix", changes={"arch.attention": "groupmix"}, params_m=0.0987, gmacs=0.00201),
        planned(
            "embed_dim=95",
            changes={"arch.embed_dim": 95},
            dropped="arch.embed_dim % arch.num_heads == 0 must hold, but 95 % 4 == 3",
        ),
        sweep="quickstart",
        num_test_images=360,
        published=[
            {
                "when": {"arch.attention": {"name": "refiner", "expansion": 6.0}},
                "values": {"top1": 83.0},
                "source": "Refiner, Table 1",
            },
            {"when": {"arch.depth": 24}, "values": {"top1": 82.5}, "source": "DeepViT, Table 4"},
        ],
    )


@pytest.fixture
def quickstart_records() -> list[TrialRecord]:
    """Two variants complete, one pruned once, one failed once and missing once, and a trial that is not in the plan."""
    found = []
    for seed, base, refiner in ((0, 96.0, 97.0), (1, 97.0, 99.0), (2, 98.0, 101.0)):
        found.append(
            record("baseline", seed, base, metrics={"top1": base, "loss": 0.5 - base / 400}, train_seconds=8.0 + seed)
        )
        found.append(
            record(
                "attention=refiner expansion=6",
                seed,
                refiner,
                changes={"arch.attention": {"name": "refiner", "expansion": 6}},
                metrics={"top1": refiner, "loss": 0.25},
                train_seconds=16.0,
            )
        )
    found += [
        record("attention=reattention", 0, 95.0, train_seconds=9.0),
        record("attention=reattention", 1, 97.5, train_seconds=10.0),
        record("attention=reattention", 2, status="pruned", epochs=7, curve=[{"epoch": 7, "top1": 60.0}]),
        record("attention=groupmix", 0, 94.5, train_seconds=7.25),
        record(
            "attention=groupmix",
            1,
            failure=Failure(type="NonFiniteLoss", message="training loss is nan in epoch 3", epoch=3),
        ),
        record("old idea", 0, 99.9),
    ]
    return found
