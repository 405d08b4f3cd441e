"""Checks of published numbers: known paths and metrics, numbers, one value of a row and a source, enough for an order.

Papers' "FLOPs" are mostly multiply-accumulates, some are twice as many, and few say which. So there is no `gflops`:
what is compared with our multiply-accumulates is written as such.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from search_space.checks.space_checks import value_issues
from search_space.parsing.errors import did_you_mean
from search_space.schema.messages.pydantic_errors import quote
from search_space.schema.metrics import METRICS, metric_named
from search_space.schema.sweep import FEWEST_OF_AN_ORDER, Sweep
from search_space.settings.candidates import Issue
from search_space.settings.paths import is_path, path_hint
from search_space.settings.table_columns import COSTS

__all__ = ["published_issues"]

_FLOPS = (
    "papers mostly mean multiply-accumulates: write  gmacs: 6.2  for 6.2 GFLOPs of such a paper, and half of it where "
    "a multiplication and an addition count as two"
)


def published_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of the rows of `published`, in their order."""
    numbers = [*METRICS, *COSTS]
    given: dict[tuple[str, str, str], int] = {}
    for index, row in enumerate(sweep.published):
        places = {path: ("published", index, "when", path) for path in row.when}
        unknown = [path for path in row.when if not is_path(path)]
        for path in unknown:
            yield Issue(places[path], f"unknown path {path!r}", path_hint(path), at_key=True)
        # An unknown key may be an option of the reference, which is not the baseline in every design.
        yield from (issue for issue in value_issues(sweep, {} if unknown else row.when, places) if not issue.at_key)
        for name, value in (row.model_extra or {}).items():
            place = ("published", index, name)
            first = given.setdefault((json.dumps(row.when, sort_keys=True), row.source, name), index)
            if metric_named(name) is None and name not in COSTS:
                hint = _FLOPS if name.lower() in ("flops", "gflops") else did_you_mean(name, numbers)
                yield Issue(place, f"unknown metric {name!r}", hint, at_key=True)
            elif isinstance(value, bool) or not isinstance(value, int | float):
                yield Issue(place, f"must be a number, but got {quote(value)}")
            elif first != index:
                message = f"published[{first}] has a {name} of this row and source, too"
                yield Issue(place, message, "remove one of them, or name their sources apart", at_key=True)
            elif row.compare == "order" and name in COSTS:
                message = f"an order of {name!r} is not compared: a cost has no seeds"
                yield Issue(place, message, "remove it, or write  compare: value", at_key=True)
        if not row.model_extra:
            hint = "for example  top1: 83.0;  known: " + ", ".join(sorted(numbers))
            yield Issue(("published", index), "contains no number", hint)
    yield from _short_orders(sweep)


def _short_orders(sweep: Sweep) -> Iterator[Issue]:
    """Rows of which nothing would be shown: their source has too few of the metric for an order."""
    counts = Counter((row.source, name) for row in sweep.published for name in (row.model_extra or {}))
    for index, row in enumerate(sweep.published):
        for name in (row.model_extra or {}) if row.compare == "order" else ():
            count = counts[row.source, name]
            if count < FEWEST_OF_AN_ORDER and name not in COSTS:
                rows = f"{count} row{'s'[: count - 1]}"
                message = f"an order needs {FEWEST_OF_AN_ORDER} rows of one source, but this one has {rows} with {name}"
                hint = "rows of one table have the same text as `source`"
                yield Issue(("published", index, name), message, hint, at_key=True)
