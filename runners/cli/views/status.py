"""`archsweep status`: state of any run directory, also while it runs."""

from __future__ import annotations

import time

from runners.cli.arguments import RunArgument

__all__ = ["status"]


def status(run: RunArgument) -> None:
    """Show progress, failures and best trial of a run."""
    from results import format_status, open_summary, run_status

    print(format_status(run_status(open_summary(run), now=time.time())))
