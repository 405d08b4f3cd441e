"""The sweeps of a file as `run` and `plan` take them: validated, each with its run directory.

Free of heavy imports: `archsweep check` answers at once, also where torch is missing, unless the training is a function
of the user's own, whose module it imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from search_space import Problem, SpecError, SweepFile, load_again, load_studies
from search_space.checks.section_checks import storage_issue
from search_space.schema.task import PythonSpec
from search_space.schema.tracking import OptunaSpec
from search_space.variants.impossible_choices import impossible_choices

__all__ = [
    "check_optuna",
    "knowing_runs",
    "load_all_checked",
    "mirrored",
    "one_directory",
    "run_dir_of",
    "study_run_dirs",
    "untracked",
]


def load_all_checked(
    path: str | Path, profile: str | None, overrides: Iterable[str] | None, study: str | None = None
) -> list[SweepFile]:
    """The sweeps of a file, one for each of its studies; sampler and pruner are driven dry, and the function of the
    user's own training is looked up.

    Raises:
        SpecError: everything wrong with the file.
    """
    files = load_studies(path, profile=profile, overrides=overrides or (), study=study)
    check_optuna(files)
    if problems := [problem for file in files for problem in _function_problems(file)]:
        raise SpecError(dict.fromkeys(problems))
    return files


def check_optuna(files: Sequence[SweepFile]) -> None:
    """Raises SpecError where Optuna refuses the sampler or the pruner of a sweep."""
    problems = [problem for file in files for problem in _optuna_problems(file)]
    if problems:
        raise SpecError(dict.fromkeys(problems))


def _optuna_problems(file: SweepFile) -> list[Problem]:
    sweep = file.sweep
    if not (sweep.prune or sweep.search or sweep.retune):
        return []
    # Optuna takes half a second to import: only sweeps that name its classes pay for it.
    from runners.search.dry_run import dry_run_problems

    return [file.problem(each.path, each.message, each.hint) for each in dry_run_problems(sweep)]


def _function_problems(file: SweepFile) -> list[Problem]:
    """What is wrong with the function of the task `python` and with `config`: of the baseline, else of `space`."""
    baseline = file.sweep.baseline
    if not isinstance(baseline.task, PythonSpec):
        return []
    # With what a training imports, torch among it.
    from runners.training.foreign.function import foreign_relations

    if wrong := foreign_relations(baseline):
        return [file.problem(f"baseline.{each.path}", each.message, each.hint) for each in wrong]
    refused = impossible_choices(file.sweep, foreign_relations, ("task",))
    return [file.problem(each.path, each.message, each.hint, at_key=each.at_key) for each in refused]


def run_dir_of(file: SweepFile) -> Path:
    """`runs/NAME` or `runs/NAME-PROFILE`."""
    return Path("runs") / (file.sweep.name + (f"-{file.profile}" if file.profile else ""))


def study_run_dirs(file: SweepFile) -> dict[str, Path]:
    """Run directory of every study of the sweep file, of which `file` is one; empty where it has no studies."""
    return {each.study: run_dir_of(each) for each in load_again(file)} if file.study else {}


def knowing_runs(file: SweepFile, siblings: Mapping[str, Path]) -> SweepFile:
    """The sweep with the places of runs whose weights it may begin with: workers have another working directory."""
    written = file.sweep.resources
    runs = {**{name: str(path.resolve()) for name, path in siblings.items()}, **written.study_runs}
    resources = written.model_copy(update={"study_runs": runs, "runs_dir": written.runs_dir or str(Path.cwd())})
    return replace(file, sweep=file.sweep.model_copy(update={"resources": resources}))


def one_directory(files: Sequence[SweepFile], out: Path | None) -> None:
    """Raises SpecError where one run directory is asked for several studies."""
    if out is not None and len(files) > 1:
        names = ", ".join(file.study for file in files)
        raise SpecError(Problem(f"names one directory for several studies: {names}", where="--out", hint="add --study"))


def untracked(file: SweepFile) -> SweepFile:
    """The sweep without trackers: they get every trial from the collected run, once."""
    return replace(file, sweep=file.sweep.model_copy(update={"track": ()}))


def mirrored(file: SweepFile, storage: str) -> SweepFile:
    """The sweep with an Optuna study that mirrors it, in this storage whatever `track` says.

    Raises:
        SpecError: Optuna has no such storage.
    """
    if issue := storage_issue(storage):
        raise SpecError(Problem(issue.message, where="--optuna-storage", hint=issue.hint))
    place = storage if "://" in storage else str(Path(storage).expanduser().resolve())
    own = next((tracker for tracker in file.sweep.track if isinstance(tracker, OptunaSpec)), OptunaSpec())
    others = [tracker for tracker in file.sweep.track if not isinstance(tracker, OptunaSpec)]
    track = (*others, own.model_copy(update={"storage": place}))
    return replace(file, sweep=file.sweep.model_copy(update={"track": track}))
