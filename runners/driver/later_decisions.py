"""Decisions that were made after results were seen: the plan of this start compared with that of the first result.

Looking after every seed and stopping when it pleases, another alpha, another metric or a row that is left out make
false claims that no correction sees. Each start compares its plan with the one in the run directory; the values of
the plan before the first result are carried along in it, so that a change that is taken back is gone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from results import LedgerWriter, RunPlan
from results.plan.comparison import Decision
from results.plan.preregistration import differences, read_preregistration
from results.plan.run_plan import PlannedVariant
from results.store.run import read_plan
from results.store.run_layout import RunDir
from search_space import SpecError
from search_space.schema.training.seeding import BY_DEFAULT

__all__ = ["LaterDecisions"]

_SOURCES = "seeds.vary"
_COMPARED = ("seeds", "metric", "objectives")


class LaterDecisions:
    """What this start changes, against the plan that is in the run directory when this is made.

    Args:
        ledger: opened, without the records that do not count.
        run_dir: read for the plan of the start before, and for a preregistration.
        elsewhere: the plan with which the records of a directory without a plan were made, where they were collected.
    """

    def __init__(self, run_dir: RunDir, ledger: LedgerWriter, *, elsewhere: RunPlan | None = None) -> None:
        self._ledger = ledger
        self._registered = read_preregistration(run_dir.preregistration)
        self._previous: RunPlan | None = elsewhere
        with contextlib.suppress(SpecError):  # no plan, or none that can be read: it is written again
            self._previous = read_plan(run_dir)

    def of(self, plan: RunPlan, *, is_final: bool = True) -> RunPlan:
        """The plan with what was decided later, and what differs from its preregistration.

        Args:
            is_final: False while variants are being tuned, whose settings are not those of the comparison.
        """
        plan = self._with_preregistration(plan)
        previous = self._previous
        if previous is None:
            num_results = self._num_results({variant.variant_id for variant in plan.variants})
            if not num_results:
                return plan
            lost = Decision(what="plan", before=None, after=plan.sweep, num_results=num_results)
            return plan.model_copy(update={"decided_later": [lost]})
        if not is_final:
            return plan.model_copy(update={"decided_later": previous.decided_later})
        seen = {each.variant_id for each in previous.variants}
        is_search = plan.design == "search"
        same = None if is_search else seen & {each.variant_id for each in plan.variants}
        # What a seed decides is in the ids of all rows, but a choice between seeds that vary this or that, made after
        # the results of one of them, is a choice between results.
        if not _reseeded(previous, plan) and not self._num_results(same):
            return plan  # nothing of this comparison has been seen
        num_results = self._num_results(None if is_search else seen)
        if not num_results and not previous.decided_later:
            return plan
        decided = [*_changes(previous, plan, num_results), *_removed(previous, plan, num_results)]
        variants = [_with_time(previous, variant, num_results) for variant in plan.variants]
        return plan.model_copy(update={"decided_later": decided, "variants": variants})

    def _with_preregistration(self, plan: RunPlan) -> RunPlan:
        if self._registered is None:
            return plan
        made, content = self._registered
        found = [*differences(content, plan)]
        earlier = sum(
            each.status == "completed" and not each.role and bool(each.finished_at) and each.finished_at < made.date
            for each in self._ledger.summaries
        )
        if earlier:
            found.append(f"{earlier} trial{'s'[: earlier - 1]} ended before it")
        return plan.model_copy(update={"preregistered": made.model_copy(update={"differs": found})})

    def _num_results(self, variant_ids: set[str] | None) -> int:
        return sum(
            each.status == "completed" and not each.role and (variant_ids is None or each.variant_id in variant_ids)
            for each in self._ledger.summaries
        )


def _changes(previous: RunPlan, plan: RunPlan, num_results: int) -> Iterator[Decision]:
    known = {decision.what: decision for decision in previous.decided_later}
    if "plan" in known:
        yield known["plan"]
    earlier, now = _compared(previous), _compared(plan)
    for what, after in now.items():
        first = known[what].before if what in known else earlier[what]
        if after == first or _is_allowed_for(what, first, plan, previous):
            continue
        is_new = what not in known or known[what].after != after
        yield Decision(
            what=what, before=first, after=after, num_results=num_results if is_new else known[what].num_results
        )


def _compared(plan: RunPlan) -> dict[str, Any]:
    content = plan.model_dump(mode="json", include={*_COMPARED, "analysis"})
    analysis = {f"analysis.{name}": value for name, value in content.pop("analysis").items()}
    analysis.setdefault("analysis.sequential", None)
    # What makes an arm stop is not compared: the tests do not reckon with it.
    looks = {} if plan.rounds is None else plan.rounds.model_dump(mode="json", include={"looks", "spending"})
    rounds = {"seeds.looks": looks.get("looks"), "seeds.spending": looks.get("spending")}
    path = {} if plan.path is None else plan.path.model_dump(mode="json")
    rounds |= {"design.choosing_seeds": path.get("choosing"), "design.compare": path.get("compare")}
    return {**{name: content[name] for name in _COMPARED}, **rounds, _SOURCES: _sources(plan), **analysis}


def _is_allowed_for(what: str, before: Any, plan: RunPlan, previous: RunPlan) -> bool:
    """Whether the tests hold whatever was seen before the change: seeds that are added, or not trained, behind those of
    before, where p-values are those of any number of seeds."""
    if what != "seeds" or not plan.analysis.sequential == previous.analysis.sequential == "anytime":
        return False
    return all(one == other for one, other in zip(before, plan.seeds, strict=False))


def _sources(plan: RunPlan) -> list[str]:
    """What a seed decides, for readers."""
    if plan.seed_sources is None:
        return list(BY_DEFAULT)
    crossed = [f"{name} ({number} levels)" for name, number in plan.seed_sources.crossed.items()]
    return crossed or plan.seed_sources.vary


def _reseeded(previous: RunPlan, plan: RunPlan) -> bool:
    """Whether a seed decides something else than when this comparison was planned first."""
    known = {decision.what for decision in previous.decided_later}
    return _SOURCES in known or previous.seed_sources != plan.seed_sources


def _removed(previous: RunPlan, plan: RunPlan, num_results: int) -> Iterator[Decision]:
    """Rows that were compared and are not any more: a smaller family makes the remaining claims easier."""
    if plan.design == "search":
        return
    present = {variant.name for variant in plan.variants}
    for decision in previous.decided_later:
        if decision.what.startswith("variant ") and decision.before not in present:
            yield decision
    for variant in previous.variants:
        if variant.name not in present and not variant.dropped:
            yield Decision(what=f"variant {variant.name}", before=variant.name, after=None, num_results=num_results)


def _with_time(previous: RunPlan, variant: PlannedVariant, num_results: int) -> PlannedVariant:
    earlier = next((each for each in previous.variants if each.name == variant.name), None)
    if earlier is not None:
        return variant.model_copy(update={"added_after": earlier.added_after})
    was_planned = any(
        decision.what.startswith("variant ") and decision.before == variant.name for decision in previous.decided_later
    )
    return variant if was_planned else variant.model_copy(update={"added_after": num_results})
