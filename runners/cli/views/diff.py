"""`archsweep diff`: differences between two trials or variants."""

from __future__ import annotations

from typing import Annotated

import typer

from runners.cli.arguments import RunArgument
from search_space.parsing.visible import visible_json

__all__ = ["diff"]

_SIDE = "Variant (name or id) or trial (id); a prefix of the id is enough."


def diff(
    run: RunArgument,
    a: Annotated[str, typer.Argument(metavar="A", help=_SIDE, show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Variant or trial to compare with.", show_default=False)],
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two trials or variants.

    Shows what differs: the specification, the outcome, and where it ran.
    """
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
    # Strict JSON: NaN and infinities are strings, as in the ledger.
    print(visible_json(to_json({**sides, **rest}, indent=1, inf_nan_mode="strings").decode()))
