"""`archsweep check-data`: classes, counts, sizes and duplicates of the data of a sweep. Trains nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from runners.cli.arguments import AsJson, Overrides, Profile, Study, SweepArgument
from runners.cli.resource_options import DataDir, resource_overrides
from runners.session.sweeps import load_all_checked
from search_space import Problem, SpecError, SweepFile, variants
from search_space.parsing.visible import visible, visible_lines
from search_space.schema.task import Task

if TYPE_CHECKING:
    from runners.data.survey.survey import Survey

__all__ = ["check_data"]


def check_data(
    sweep: SweepArgument,
    profile: Profile = None,
    set_: Overrides = None,
    study: Study = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what the datasets of a sweep hold: classes, counts, sizes, duplicates.

    Every image is decoded and every label read; the next time, only what changed. Exit code 2: a dataset cannot be
    trained on, for the reasons that are printed.
    """
    from runners.data.survey.report import survey_as_json, survey_lines  # imports torch, as the others here
    from runners.data.survey.survey import look_at_dataset

    overrides = [*(set_ or ()), *resource_overrides(data_dir=data_dir)]
    surveys: dict[str, Survey] = {}
    problems = []
    for file in load_all_checked(sweep, profile, overrides, study):
        for task in _tasks(file):
            key = task.model_dump_json(include={"dataset", "val_fraction"})
            if key in surveys:
                continue
            try:
                surveys[key] = look_at_dataset(task, file.sweep.resources, say=_say)
                faults = surveys[key].faults
            except SpecError as err:
                faults = tuple(err.problems)
            problems += [file.problem(f"baseline.{each.path}", each.message, each.hint) for each in faults]
    if as_json:
        _write_json([survey_as_json(each) for each in surveys.values()], list(dict.fromkeys(problems)))
        if problems:
            print(SpecError(dict.fromkeys(problems)), file=sys.stderr)
            raise typer.Exit(2)
    else:
        for each in surveys.values():
            print(visible_lines("\n".join(survey_lines(each))))
    if problems:
        raise SpecError(dict.fromkeys(problems))


def _write_json(datasets: list[dict[str, Any]], problems: list[Problem]) -> None:
    from runners.cli.documents.document import problem_entries, write_document
    from runners.cli.documents.of_sweeps import CheckDataDocument, DatasetEntry

    found = [DatasetEntry.model_validate(each) for each in datasets]
    write_document(CheckDataDocument(datasets=found, problems=problem_entries(problems)), sys.stdout)


def _say(text: str) -> None:
    typer.echo(f"archsweep: {visible(text)}", err=True)


def _tasks(file: SweepFile) -> list[Task]:
    """Tasks of the baseline and of the variants; a search has no variants before it runs."""
    tasks = [file.sweep.baseline.task]
    if not file.sweep.search:
        tasks += [variant.setting.task for variant in variants(file.sweep)]
    return tasks
