"""Records -> statistics -> tables. Reads what runners wrote; never needs what they trained with.

A run directory is opened with `Run.open`; `ablation_table` makes its table, `EXPORTERS` write it.
"""

from __future__ import annotations

from results.exporters import EXPORTERS
from results.run_files.run_tables import write_tables
from results.run_files.tidy_csv import write_curves_csv, write_long_csv
from results.store.driver_lock import Driver, running_driver
from results.store.ledger import LedgerContents, read_ledger
from results.store.ledger_writer import LedgerWriter
from results.store.progress import ProgressEvent, UnfinishedTrial
from results.store.progress_writer import ProgressWriter
from results.store.record_summary import RecordSummary, latest_by_trial
from results.store.records import (
    Analysis,
    Failure,
    PlannedVariant,
    PublishedRow,
    RunPlan,
    Status,
    TableFormat,
    TrialRecord,
)
from results.store.run import Run, RunSummary, open_summary, write_plan
from results.store.run_follower import RunFollower
from results.table.build import ablation_table
from results.table.glue_average import glue_table
from results.table.merge import merged_table, table_of_runs
from results.table.table import AblationTable, DroppedVariant, Row, Study
from results.views.status import BestTrial, RunStatus, TuningStatus, format_status, run_status

__all__ = [
    "EXPORTERS",
    "AblationTable",
    "Analysis",
    "BestTrial",
    "Driver",
    "DroppedVariant",
    "Failure",
    "LedgerContents",
    "LedgerWriter",
    "PlannedVariant",
    "ProgressEvent",
    "ProgressWriter",
    "PublishedRow",
    "RecordSummary",
    "Row",
    "Run",
    "RunFollower",
    "RunPlan",
    "RunStatus",
    "RunSummary",
    "Status",
    "Study",
    "TableFormat",
    "TrialRecord",
    "TuningStatus",
    "UnfinishedTrial",
    "ablation_table",
    "format_status",
    "glue_table",
    "latest_by_trial",
    "merged_table",
    "open_summary",
    "read_ledger",
    "run_status",
    "running_driver",
    "table_of_runs",
    "write_curves_csv",
    "write_long_csv",
    "write_plan",
    "write_tables",
]
