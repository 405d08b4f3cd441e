"""`archsweep diff`: differences between two trials or variants."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from runners.cli.arguments import AsJson, RunArgument

__all__ = ["diff"]

_SIDE = "Variant (name or id) or trial (id); a prefix of the id is enough."


def diff(
    run: RunArgument,
    a: Annotated[str, typer.Argument(metavar="A", help=_SIDE, show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Variant or trial to compare with.", show_default=False)],
    classes: Annotated[bool, typer.Option("--classes", help="Show the accuracy of every class, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare two trials or variants.

    Shows what differs: the specification, the outcome, and where it ran.
    """
    from results import Run
    from results.views.diff import format_differences, run_differences
    from results.views.diff_operands import resolve_operand

    opened = Run.open(run)
    found = run_differences(opened, resolve_operand(opened, a), resolve_operand(opened, b))
    if not as_json:
        print(format_differences(found, classes=classes))
        return
    from runners.cli.documents.document import write_document
    from runners.cli.documents.of_runs import diff_document

    write_document(diff_document(found), sys.stdout)
