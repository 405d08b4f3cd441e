"""`archsweep diff`: why two trials or variants gave different numbers."""

from __future__ import annotations

from typing import Annotated

import typer

from runners.cli.arguments import RunArgument
from search_space.parsing.visible import visible_json

__all__ = ["diff"]

_SIDE = "A variant's name or id, or a trial's id; the beginning of an id will do."


def diff(
    run: RunArgument,
    a: Annotated[str, typer.Argument(metavar="A", help=_SIDE, show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="The other.", show_default=False)],
    json_: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say what differs between two trials or variants: what was trained, what came out, where it ran."""
    from pydantic_core import to_json

    from results import Run
    from results.views.diff import format_differences, run_differences
    from results.views.diff_operands import resolve_operand

    opened = Run.open(run)
    found = run_differences(opened, resolve_operand(opened, a), resolve_operand(opened, b))
    if not json_:
        print(format_differences(found))
        return
    sides = {
        name: {"name": side.name, "id": side.key, "trials": [record.trial_id for record in side.records]}
        for name, side in (("a", found.a), ("b", found.b))
    }
    rest = {name: getattr(found, name) for name in ("spec", "outcome", "paired", "surroundings")}
    # Strict JSON, whoever reads it: what is no number is a string, as in the ledger.
    print(visible_json(to_json({**sides, **rest}, indent=1, inf_nan_mode="strings").decode()))
