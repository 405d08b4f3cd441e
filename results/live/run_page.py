"""The page of a run: progress and forecast, running trials with their curves, the table as it fills, failures, figures,
the plan, and links to the files that are made on request."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from results.live.curve_svg import points_of, spark
from results.live.found_runs import short_key
from results.live.part import Part, page
from results.live.remade import Seen
from results.live.run_state import STATES, RunState, iso_time
from results.live.watched_run import TableView, WatchedRun
from results.markup.html_templates import render
from results.plan.run_plan import RunPlan
from results.report.section import Section
from results.store.progress import UnfinishedTrial
from results.store.run_layout import IN_RUN_DIR
from results.views.pace import pace_line
from results.views.status import format_status
from search_space.parsing.visible import visible

__all__ = ["DOWNLOADS", "figures_page", "run_page", "run_part", "run_versions"]

DOWNLOADS = {
    IN_RUN_DIR.table("csv").name: "table (CSV)",
    IN_RUN_DIR.table("tex").name: "table (LaTeX)",
    IN_RUN_DIR.table("md").name: "table (Markdown)",
    IN_RUN_DIR.table("html").name: "table (HTML)",
    IN_RUN_DIR.trials_csv.name: "trials (CSV)",
    IN_RUN_DIR.curves_csv.name: "curves (CSV)",
    IN_RUN_DIR.shapley_csv.name: "Shapley values (CSV)",
    IN_RUN_DIR.path_csv.name: "steps of the path (CSV)",
    IN_RUN_DIR.report.name: "report (HTML)",
}
"""Files that are made of the present records when they are asked for: name -> words of the link."""

_MOST_TRIALS = 60
_MOST_VARIANTS = 300
_WAIT = 0.8


def run_page(run: WatchedRun) -> str:
    """The whole page."""
    parts = [_state(run.found.key, run.state.seen(_WAIT)), _table(run.found.key, run.table.seen(_WAIT))]
    parts += [_plan(run, run.state.seen()), _figures(run.found.key, run.figures.seen(), is_inline=False)]
    return page(visible(run.found.name), f"/run/{run.found.key}", parts, trail=[("all runs", "/")])


def figures_page(run: WatchedRun) -> str:
    """The figures alone, with everything that a report states about a run; for readers without scripts."""
    parts = [_figures(run.found.key, run.figures.seen(30), is_inline=True)]
    trail = [("all runs", "/"), (visible(run.found.name), f"/run/{run.found.key}")]
    return page(f"Figures of {visible(run.found.name)}", f"/run/{run.found.key}", parts, trail=trail)


def run_versions(run: WatchedRun) -> dict[str, str]:
    """Version of every part of the page by its name."""
    state, table, figures = run.state.seen(), run.table.seen(), run.figures.seen()
    return {
        "state": _version(state),
        "table": _version(table),
        "figures": _version(figures),
        "plan": run.plan_version(),
    }


def run_part(run: WatchedRun, name: str) -> Part | None:
    """One part of the page; None for a name that is none."""
    if name == "state":
        return _state(run.found.key, run.state.seen())
    if name == "table":
        return _table(run.found.key, run.table.seen())
    if name == "figures":
        return _figures(run.found.key, run.figures.seen(), is_inline=True)
    return _plan(run, run.state.seen()) if name == "plan" else None


def _version(seen: Seen[Any]) -> str:
    return f"{seen.version}{'' if seen.is_current else '-'}"


def _state(key: str, seen: Seen[RunState]) -> Part:
    state = seen.value
    body = render(
        "live/assets/run_state.html.j2",
        key=key,
        state=state,
        meaning=STATES[state.state] if state else "",
        errors=_errors(seen),
        lines=list(_lines(state)) if state else [],
        trials=[_cells(trial, state) for trial in state.shown_trials[:_MOST_TRIALS]] if state else [],
        num_more=max(0, len(state.shown_trials) - _MOST_TRIALS) if state else 0,
        changed=iso_time(state.changed) if state and state.changed is not None else "",
        died=_died(state) if state else "",
    )
    return Part("state", _version(seen), body)


def _lines(state: RunState) -> Iterator[str]:
    # The first line is the heading's, running trials have a table of their own.
    _, *lines = format_status(state.status).splitlines()
    yield from (line.strip() for line in lines if not line.startswith("  running: "))
    if state.run.driver is not None:
        yield pace_line(state.run.progress, time.time())


def _died(state: RunState) -> str:
    """When the last sign of a crashed driver was written."""
    return iso_time(max(trial.last_seen for trial in state.shown_trials)) if state.state == "crashed" else ""


def _cells(trial: UnfinishedTrial, state: RunState) -> Mapping[str, object]:
    metric, loss = shown_names(trial.curve, state.run.plan.metric)
    epochs = state.run.plan.epochs
    values, losses = points_of(trial.curve, metric), points_of(trial.curve, loss)
    return {
        "key": short_key(trial.trial_id),
        "variant": trial.variant,
        "seed": trial.seed,
        "epoch": trial.epoch,
        "epochs": epochs,
        "metric": metric,
        "value": f"{values[-1][1]:.4g}" if values else "",
        "curve": spark(values, metric, epochs=epochs),
        "loss": loss,
        "loss_value": f"{losses[-1][1]:.4g}" if losses else "",
        "loss_curve": spark(losses, loss, epochs=epochs),
        "since": iso_time(trial.started),
        "place": trial.place,
    }


def shown_names(curve: Sequence[Mapping[str, float]], metric: str) -> tuple[str, str]:
    """Names of the metric and of the loss of a curve: those of the validation split where there is one."""
    seen = {name for point in curve for name in point}
    losses = [name for name in ("val_loss", "loss", "train_loss") if name in seen]
    return f"val_{metric}" if f"val_{metric}" in seen else metric, losses[0] if losses else "train_loss"


def _table(key: str, seen: Seen[TableView]) -> Part:
    body = render("live/assets/run_table.html.j2", key=key, seen=seen, view=seen.value, errors=_errors(seen))
    return Part("table", _version(seen), body)


def _figures(key: str, seen: Seen[tuple[Section, ...]], *, is_inline: bool) -> Part:
    """The figures, or a link to them: most of a report's bytes are theirs, so that scripts fetch them later."""
    body = render(
        "live/assets/run_figures.html.j2",
        key=key,
        seen=seen,
        sections=seen.value or (),
        is_inline=is_inline,
        errors=_errors(seen),
    )
    return Part("figures", _version(seen) if is_inline else "later", body)


def _plan(run: WatchedRun, seen: Seen[RunState]) -> Part:
    plan = seen.value.run.plan if seen.value else None
    body = render(
        "live/assets/run_plan.html.j2",
        key=run.found.key,
        plan=plan,
        facts=list(_facts(plan)) if plan else [],
        variants=plan.variants[:_MOST_VARIANTS] if plan else [],
        num_more=max(0, len(plan.variants) - _MOST_VARIANTS) if plan else 0,
        downloads={name: words for name, words in DOWNLOADS.items() if plan is None or _is_of(name, plan)},
        has_report=run.found.files.report.is_file(),
    )
    return Part("plan", run.plan_version() if seen.is_current else "", body)


def _is_of(name: str, plan: RunPlan) -> bool:
    owner = {IN_RUN_DIR.shapley_csv.name: "shapley", IN_RUN_DIR.path_csv.name: "path"}.get(name, plan.design)
    return plan.design == owner


def _facts(plan: RunPlan) -> Iterator[tuple[str, str]]:
    yield "sweep", plan.sweep + (f" ({plan.profile})" if plan.profile else "")
    yield "design", plan.design + (f", {plan.num_trials} trials" if plan.num_trials else "")
    yield "metric", plan.metric
    if plan.objectives:
        yield "objectives", ", ".join(plan.objectives)
    yield "seeds", ", ".join(map(str, plan.seeds))
    if plan.rounds is not None:
        yield "looks", f"with {', '.join(map(str, plan.rounds.looks))} seeds"
    if plan.path is not None:
        yield "seeds that choose", ", ".join(map(str, plan.path.choosing))
    if plan.dataset:
        yield "data", plan.dataset
    if plan.epochs:
        yield "epochs", str(plan.epochs)
    analysis = plan.analysis
    yield "comparison", f"{analysis.correction}, alpha {analysis.alpha:g}, {analysis.selection} weights"
    if analysis.margin is not None:
        yield "smallest difference that matters", f"{analysis.margin:g}"
    for decision in plan.decided_later:
        yield "changed after results", f"{decision.what}, after {decision.num_results} trials"


def _errors(seen: Seen[Any]) -> Markup:
    return render("live/assets/errors.html.j2", problems=seen.error.problems if seen.error else ())
