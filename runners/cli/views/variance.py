"""`archsweep variance`: what makes seeds differ, and what comparing at equal seeds gains."""

from __future__ import annotations

import sys

from runners.cli.arguments import AsJson, RunsArgument

__all__ = ["variance"]


def variance(runs: RunsArgument, as_json: AsJson = False) -> None:
    """Show what makes seeds differ, and what comparing at equal seeds gains.

    Of a crossed design (seeds: {crossed: {init: 4, order: 4}}) the share of every source in the variance; of any other
    run the spread of its baseline, and for every arm as many different seeds as would compare as precisely.
    """
    from results import Run
    from results.views.variance import format_variance, run_variance

    found = [run_variance(Run.open(run, curves=False)) for run in runs]
    if not as_json:
        print(format_variance(found))
        return
    from runners.cli.documents.document import write_document
    from runners.cli.documents.of_variance import variance_document

    write_document(variance_document(found), sys.stdout)
