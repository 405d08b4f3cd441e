"""docs/statistics.md defines every column of `table.csv`, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from results import PlannedVariant, RunPlan, TrialRecord, ablation_table
from results.exporters.csv import columns
from results.predictions.correct_images import encode_correct
from results.table.table_options import TableOptions, with_options

PAGE = Path(__file__).parents[4] / "docs" / "statistics.md"


def table_of(**fields):
    """A table of two rows with all that a record can have."""
    blocks = fields.get("blocks", {}).get("names", [""])
    variants, records = [], []
    for block in blocks:
        for index, name in enumerate(("baseline", "dla")):
            key = f"{name}{block}"
            known = {"variant_id": key, "changes": {"arch.depth": 100} if index else {}, "block": block}
            treatment = f"{name}{blocks[0]}" if block else ""
            components = {"dla": bool(index)}
            variants.append(
                PlannedVariant(
                    name=name, is_baseline=not index, components=components, treatment=treatment, params_m=1.0, **known
                )
            )
            for seed in (0, 1, 2):
                metrics = {"top1": 50.0, "loss": 1.0, "head_similarity": 0.5}
                trial = {"trial_id": f"{key}{seed}", "seed": seed, "variant": name, "spec": {}, "metrics": metrics}
                trial |= {"status": "completed", "trainable_params_m": 0.5, "train_seconds": 1.0}
                trial |= {} if block else {"correct": encode_correct([True, False])}
                records.append(TrialRecord.model_validate({**trial, **known}))
    data = {"dataset": "d", "num_classes": 2, "train_images": 2, "test_images": 2}
    data["majority_class"] = {"name": "0", "metrics": {"top1": 50.0}}
    plan = {"sweep": "all", "design": "list", "metric": "top1", "seeds": [0, 1, 2], "variants": variants}
    plan |= {"num_test_images": 2, "data": [data]}
    return ablation_table(RunPlan.model_validate(plan | fields), records)


def every_column() -> set[str]:
    imported = {"source": "runs.csv", "kind": "csv", "date": "2026-01-01"}
    blocks = {"path": "task.dataset", "names": ["a", "b"], "kind": "datasets"}
    retuned = {"parameters": ["train.lr"], "num_trials": 2, "seeds": [9], "sampler": "tpe"}
    tables = [
        table_of(imported=imported),
        table_of(retuned=retuned),
        table_of(rounds={"looks": [2, 3]}),
        table_of(blocks=blocks),
        table_of(design="search", objectives=["top1", "gmacs"]),
        table_of(published=[{"when": {}, "values": {"top1": 1.0, "params_m": 2.0}, "source": "a paper"}]),
        with_options(table_of(), TableOptions(columns=("variant", "delta:loss", "delta_std:loss"))),
    ]
    return {general(name) for table in tables for name in columns(table)}


def general(column: str) -> str:
    """`METRIC_delta@BLOCK` for `top1_delta@a`."""
    column = re.sub(r"@[ab]$", "@BLOCK", column).replace("component.dla", "component.NAME")
    if "published" in column:  # of costs, too
        column = column.replace("params_m", "top1")
    return re.sub(r"(?<![a-z])(top1|loss|head_similarity)(?=_|$)", "METRIC", column)


def named_columns() -> list[str]:
    section = PAGE.read_text(encoding="utf-8").partition("\n## Every column\n")[2]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_the_page_names_every_column_once():
    named = named_columns()
    assert sorted(named) == sorted(set(named))
    assert set(named) == every_column()


@pytest.mark.parametrize("name", ["published_top1", "top1_delta_pairs@a", "loss_delta_std", "p"])
def test_names_are_made_general(name):
    general_names = {"published_METRIC", "METRIC_delta_pairs@BLOCK", "METRIC_delta_std", "p"}
    assert general(name) in general_names
