"""`archsweep status`: state of any run directory, also while it runs."""

from __future__ import annotations

import sys
import time

from runners.cli.arguments import AsJson, RunArgument

__all__ = ["status"]


def status(run: RunArgument, as_json: AsJson = False) -> None:
    """Show progress, failures and best trial of a run."""
    from results import format_status, open_summary, run_status

    found = run_status(open_summary(run), now=time.time())
    if not as_json:
        print(format_status(found))
        return
    from runners.cli.documents.document import write_document
    from runners.cli.documents.of_runs import status_document

    write_document(status_document(found), sys.stdout)
