"""Records -> statistics -> tables. Reads what runners wrote; never needs what they trained with.

A run directory is opened with `Run.open`; `ablation_table` makes its table, `EXPORTERS` write it.
"""

from __future__ import annotations

from results.ablation import ablation_table
from results.driver_lock import Driver, running_driver
from results.exporters import EXPORTERS, exporter
from results.heads import Head, latest_by_trial
from results.ledger import LedgerContents, read_ledger
from results.ledger_writer import LedgerWriter
from results.long_csv import write_curves_csv, write_long_csv
from results.merge import merged_table, table_of_runs
from results.progress import ProgressEvent, UnfinishedTrial
from results.progress_writer import ProgressWriter
from results.records import Analysis, Failure, PlannedVariant, PublishedRow, RunPlan, Status, TrialRecord
from results.run_dir import Run, RunHeads, open_heads, write_plan
from results.run_follower import RunFollower
from results.status import BestTrial, RunStatus, TuningStatus, format_status, run_status
from results.table import AblationTable, DroppedVariant, Row, Study
from results.write_tables import write_tables

__all__ = [
    "EXPORTERS",
    "AblationTable",
    "Analysis",
    "BestTrial",
    "Driver",
    "DroppedVariant",
    "Failure",
    "Head",
    "LedgerContents",
    "LedgerWriter",
    "PlannedVariant",
    "ProgressEvent",
    "ProgressWriter",
    "PublishedRow",
    "Row",
    "Run",
    "RunFollower",
    "RunHeads",
    "RunPlan",
    "RunStatus",
    "Status",
    "Study",
    "TrialRecord",
    "TuningStatus",
    "UnfinishedTrial",
    "ablation_table",
    "exporter",
    "format_status",
    "latest_by_trial",
    "merged_table",
    "open_heads",
    "read_ledger",
    "run_status",
    "running_driver",
    "table_of_runs",
    "write_curves_csv",
    "write_long_csv",
    "write_plan",
    "write_tables",
]
