"""Records -> statistics -> tables. Reads what runners wrote; never needs what they trained with.

A run directory is opened with `Run.open`; `ablation_table` makes its table, `EXPORTERS` write it. A name is imported on
use: who looks at a run needs no exporters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_space.parsing.names_on_use import names_on_use

if TYPE_CHECKING:
    from results.exporters import EXPORTERS
    from results.plan.comparison import Analysis, PublishedRow, TableFormat
    from results.plan.run_plan import PlannedVariant, RunPlan
    from results.run_files.run_tables import write_tables
    from results.run_files.tidy_csv import write_curves_csv, write_long_csv
    from results.store.driver_lock import Driver, running_driver
    from results.store.ledger import LedgerContents, read_ledger
    from results.store.ledger_writer import LedgerWriter
    from results.store.progress import ProgressEvent, UnfinishedTrial
    from results.store.progress_writer import ProgressWriter
    from results.store.record_summary import RecordSummary, latest_by_trial
    from results.store.records import Failure, Status, TrialRecord
    from results.store.run import Run, RunSummary, open_summary, write_plan
    from results.store.run_follower import RunFollower
    from results.table.build import ablation_table
    from results.table.glue_average import glue_table
    from results.table.merge import merged_table, table_of_runs
    from results.table.table import AblationTable, DroppedVariant, Row, Study
    from results.views.status import BestTrial, RunStatus, TuningStatus, format_status, run_status

_MODULES = {
    "EXPORTERS": "results.exporters",
    "AblationTable": "results.table.table",
    "Analysis": "results.plan.comparison",
    "BestTrial": "results.views.status",
    "Driver": "results.store.driver_lock",
    "DroppedVariant": "results.table.table",
    "Failure": "results.store.records",
    "LedgerContents": "results.store.ledger",
    "LedgerWriter": "results.store.ledger_writer",
    "PlannedVariant": "results.plan.run_plan",
    "ProgressEvent": "results.store.progress",
    "ProgressWriter": "results.store.progress_writer",
    "PublishedRow": "results.plan.comparison",
    "RecordSummary": "results.store.record_summary",
    "Row": "results.table.table",
    "Run": "results.store.run",
    "RunFollower": "results.store.run_follower",
    "RunPlan": "results.plan.run_plan",
    "RunStatus": "results.views.status",
    "RunSummary": "results.store.run",
    "Status": "results.store.records",
    "Study": "results.table.table",
    "TableFormat": "results.plan.comparison",
    "TrialRecord": "results.store.records",
    "TuningStatus": "results.views.status",
    "UnfinishedTrial": "results.store.progress",
    "ablation_table": "results.table.build",
    "format_status": "results.views.status",
    "glue_table": "results.table.glue_average",
    "latest_by_trial": "results.store.record_summary",
    "merged_table": "results.table.merge",
    "open_summary": "results.store.run",
    "read_ledger": "results.store.ledger",
    "run_status": "results.views.status",
    "running_driver": "results.store.driver_lock",
    "table_of_runs": "results.table.merge",
    "write_curves_csv": "results.run_files.tidy_csv",
    "write_long_csv": "results.run_files.tidy_csv",
    "write_plan": "results.store.run",
    "write_tables": "results.run_files.run_tables",
}

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


__getattr__ = names_on_use(__name__, _MODULES)
