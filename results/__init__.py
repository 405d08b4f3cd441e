"""Records -> statistics -> tables. Reads what runners wrote; never needs what they trained with.

A run directory is opened with `Run.open`; `ablation_table` makes its table, `EXPORTERS` write it.
"""

from __future__ import annotations

from results.driver_lock import Driver, running_driver
from results.ledger import LedgerContents, LedgerWriter, latest_by_trial, read_ledger
from results.progress import ProgressEvent, ProgressWriter, UnfinishedTrial
from results.records import Failure, PlannedVariant, PublishedRow, RunPlan, Status, TrialRecord
from results.run_dir import Run, write_plan

__all__ = [
    "Driver",
    "Failure",
    "LedgerContents",
    "LedgerWriter",
    "PlannedVariant",
    "ProgressEvent",
    "ProgressWriter",
    "PublishedRow",
    "Run",
    "RunPlan",
    "Status",
    "TrialRecord",
    "UnfinishedTrial",
    "latest_by_trial",
    "read_ledger",
    "running_driver",
    "write_plan",
]
