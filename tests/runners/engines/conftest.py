"""Runs whose trials train fused, without a measurement whether that is faster here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from results import read_ledger, write_plan
from results.store.run_layout import RunDir
from runners.planning.make_plan import make_plan
from runners.trials.form import Form, stack_of
from search_space import load_sweep

TIMES = {"train_seconds", "total_seconds", "finished_at", "session", "resumed_from_epoch", "host"}


@pytest.fixture
def planned(write_sweep, tmp_path):
    """A plan of which every variant trains fused, because its run was planned so at first; and the run's directory."""

    def planned_(name, *overrides, text, numerics="fused"):
        plan = make_plan(load_sweep(write_sweep(text), overrides=overrides))
        forms = {stack_of(each.setting): Form(numerics) for each in plan.variants}
        (tmp_path / name).mkdir(exist_ok=True)
        write_plan(RunDir(tmp_path / name), replace(plan, forms=forms).as_run_plan())
        return plan, tmp_path / name

    return planned_


def what(run_dir):
    """Everything about the records that must not depend on where and when they were made."""
    records = read_ledger(run_dir / "ledger.jsonl").records
    return {each.trial_id: {**each.model_dump(exclude=TIMES), "numerics": each.numerics} for each in records}
