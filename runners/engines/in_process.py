"""One trial after the other in this very process: for debuggers, profilers and doubt about Ray.

A trial that kills its process (a segfault, the kernel's memory killer) kills the run; the ledger keeps what was done.
"""

from __future__ import annotations

import torch

from runners.book import TrialBook
from runners.outcome import failure_of
from runners.trial import run_trial

__all__ = ["run_in_process"]


def run_in_process(book: TrialBook) -> None:
    """Trains everything the book asks for. KeyboardInterrupt passes through; the trial it hit leaves no record."""
    resources = book.plan.sweep.resources
    torch.set_num_threads(max(1, int(resources.cpus)))
    while (assignment := book.ask()) is not None:
        key = assignment.trial_id
        try:
            result = run_trial(
                assignment.spec, report=lambda metrics, key=key: book.report(key, metrics), resources=resources
            )
        except Exception as err:
            result = failure_of(err)
        book.finish(key, result)
