"""The average over tasks of GLUE, as its papers report it: a table made of the runs of single tasks.

A run has one task, because its differences are of one metric on one test set. The average is derived from them: of
every variant and seed that is complete in all runs, the mean over the tasks of each task's score; with those numbers it
is a table like any other, with the spread over seeds and the differences to the baseline at equal seeds.

A task's score is the mean of the metrics that GLUE names for it: Matthews correlation for CoLA, accuracy and F1 for
MRPC and QQP, Pearson and Spearman for STS-B, accuracy for the others; of MNLI's two sets, the mean where both were run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from results.plan.run_plan import PlannedVariant, RunPlan
from results.stats.sequential.evidence import looks_of
from results.store.records import TrialRecord
from results.store.run import Run
from results.table.build import ablation_table
from results.table.table import AblationTable
from search_space.parsing.errors import Problem, SpecError

__all__ = ["glue_table"]

_TWO_METRICS = {"MRPC": ("accuracy", "f1"), "QQP": ("accuracy", "f1"), "STS-B": ("pearson", "spearman")}
_ONE_METRIC = {"CoLA": ("mcc",)}
_PREFIX = "glue/"


def glue_table(runs: Sequence[Run]) -> AblationTable:
    """Table of the average over the tasks of these runs; the scores of the tasks are among its further metrics.

    Raises:
        SpecError: a run is of no task of GLUE or of one that another run has, or they differ in baseline or analysis.
    """
    tasks = {run.path: _task_of(run) for run in runs}
    _check(runs, tasks)
    first = runs[0]
    scores = [(tasks[run.path], _scores(run, tasks[run.path])) for run in runs]
    names = [variant.name for variant in first.plan.variants]
    planned = {variant.name: variant for variant in first.plan.variants}
    kept = [name for name in names if all(_has(run.plan, name) for run in runs)]
    plan = RunPlan(
        sweep="GLUE average",
        design=first.plan.design,
        metric="glue",
        seeds=sorted(set.intersection(*(set(run.plan.seeds) for run in runs))),
        variants=[
            planned[name].model_copy(
                update={
                    "variant_id": _id_of(name),
                    "dropped": "" if name in kept else "it is not in every run",
                }
            )
            for name in names
        ],
        analysis=first.plan.analysis,
        dataset=f"GLUE ({', '.join(tasks.values())})",
        num_test_images=None,
    )
    return ablation_table(plan, list(_records(plan, planned, scores)))


_Scores = dict[tuple[str, int], float]


def _records(
    plan: RunPlan, planned: dict[str, PlannedVariant], scores: Sequence[tuple[str, _Scores]]
) -> Iterator[TrialRecord]:
    for variant in plan.variants:
        for seed in plan.seeds:
            found = {task: of_task[variant.name, seed] for task, of_task in scores if (variant.name, seed) in of_task}
            if variant.dropped or len(found) < len(scores):
                continue
            of_mnli = [found[name] for name in ("MNLI", "MNLI-mm") if name in found]
            once = {name: value for name, value in found.items() if not name.startswith("MNLI")}
            once |= {"MNLI": sum(of_mnli) / len(of_mnli)} if of_mnli else {}
            yield TrialRecord(
                trial_id=_id_of(f"{variant.name}#{seed}"),
                variant_id=variant.variant_id,
                variant=variant.name,
                changes=dict(variant.changes),
                seed=seed,
                spec={},
                status="completed",
                metrics={"glue": sum(once.values()) / len(once), **found},
                params_m=planned[variant.name].params_m,
                gmacs=planned[variant.name].gmacs,
            )


def _scores(run: Run, task: str) -> _Scores:
    """Score of every complete variant and seed, by the variant's name."""
    names = {variant.variant_id: variant.name for variant in run.plan.variants}
    wanted = {**_TWO_METRICS, **_ONE_METRIC}.get(task, ("accuracy",))
    return {
        (names[record.variant_id], record.seed): sum(record.metrics[name] for name in wanted) / len(wanted)
        for record in run.deciding.values()
        if record.status == "completed" and record.variant_id in names and set(wanted) <= set(record.metrics)
    }


def _task_of(run: Run) -> str:
    """`CoLA`, ..., `MNLI-mm` for MNLI's mismatched set; empty for a run of another dataset."""
    if not run.plan.dataset.startswith(_PREFIX):
        return ""
    specs: list[dict[str, Any]] = [record.spec.get("task", {}).get("dataset", {}) for record in run.records]
    mismatched = any(spec.get("mismatched") for spec in specs)
    return run.plan.dataset.removeprefix(_PREFIX) + ("-mm" if mismatched else "")


def _check(runs: Sequence[Run], tasks: dict[Any, str]) -> None:
    problems: list[Problem] = []
    seen: dict[str, Any] = {}
    first = runs[0]
    for run in runs:
        task, where = tasks[run.path], str(run.path)
        if looks_of(run.plan.analysis, run.plan.rounds) is not None:
            text = "its rows stopped by the results of this task alone, so an average over tasks is not tested"
            problems.append(Problem(text, where=str(run.path), hint="average runs whose rows have all seeds"))
        if run.plan.blocks is not None:
            hint = "make the average of runs of one task each, or show the table of the blocks"
            problems.append(Problem("a run with blocks has several tasks or settings", where=where, hint=hint))
        if not task:
            text = f"is a run of {run.plan.dataset or 'an unknown dataset'}, not of a task of GLUE"
            problems.append(Problem(text, where=where, hint="name runs whose task.dataset is glue/NAME"))
        elif task in seen:
            text = f"is of {task}, as {seen[task]} is"
            problems.append(Problem(text, where=where, hint="name one run for each task"))
        seen.setdefault(task, run.path)
        if _baseline(run.plan) != _baseline(first.plan):
            text = f"its baseline is {_baseline(run.plan)!r}, that of {first.path} is {_baseline(first.plan)!r}"
            problems.append(Problem(text, where=where, hint="the runs must have the same variants"))
        if run.plan.analysis != first.plan.analysis:
            text = f"its analysis differs from that of {first.path}"
            problems.append(Problem(text, where=where, hint="one caption must hold for all tasks"))
    if problems:
        raise SpecError(problems)


def _baseline(plan: RunPlan) -> str:
    return next((variant.name for variant in plan.variants if variant.is_baseline), "")


def _has(plan: RunPlan, name: str) -> bool:
    return any(variant.name == name and not variant.dropped for variant in plan.variants)


def _id_of(text: str) -> str:
    return hashlib.sha256(f"glue:{text}".encode()).hexdigest()[:12]
