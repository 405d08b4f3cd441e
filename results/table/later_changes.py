"""What was changed after results were seen, as text, and which rows rest on it.

A verdict holds for a comparison that was fixed before its results. Where seeds, metric, analysis or rows were changed
afterwards, the probability of a false claim is not alpha: with a look after every seed from 3 to 20 it is 24 %.
Planned looks are no changes, nor are seeds that are added to a run with `analysis: {sequential: anytime}`.
"""

from __future__ import annotations

from results.plan.comparison import Decision
from results.plan.run_plan import PlannedVariant, RunPlan
from results.plan.stored import value_text

__all__ = ["changes_after_results", "rests_on_changes"]


def changes_after_results(plan: RunPlan) -> tuple[str, ...]:
    """One text for each change: `seeds: 0, 1, 2 -> 0, 1, 2, 3 (after 9 trials)`."""
    texts = [_text(decision) for decision in plan.decided_later]
    added: dict[int, list[str]] = {}
    for variant in plan.variants:
        if variant.added_after and not variant.dropped:
            added.setdefault(variant.added_after, []).append(variant.name)
    for number, names in sorted(added.items()):
        rows = "row" if len(names) == 1 else "rows"
        texts.append(f"{rows} added: {', '.join(names)} ({_when(number)})")
    return tuple(texts)


def rests_on_changes(plan: RunPlan, variant: PlannedVariant) -> bool:
    """Whether the verdict of the row rests on a decision that was made after results were seen."""
    return bool(plan.decided_later) or variant.added_after > 0


def _text(decision: Decision) -> str:
    when = _when(decision.num_results)
    if decision.what == "plan":
        return f"the plan was lost, and with it what was planned first ({when})"
    if decision.what.startswith("variant "):
        return f"row left out: {decision.before} ({when})"
    return f"{decision.what}: {value_text(decision.before)} -> {value_text(decision.after)} ({when})"


def _when(num_results: int) -> str:
    return "after 1 trial" if num_results == 1 else f"after {num_results} trials"
