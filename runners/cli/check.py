"""`archsweep check`: validation of a sweep file, without importing torch."""

from __future__ import annotations

from runners.cli.arguments import Overrides, Profile, Study, SweepArgument
from search_space import Problem, SpecError, SweepFile, load_studies
from search_space.parsing.visible import visible

__all__ = ["check", "load_all_checked"]


def check(sweep: SweepArgument, profile: Profile = None, set_: Overrides = None, study: Study = None) -> None:
    """Validate a sweep file; list all problems at once."""
    for file in load_all_checked(sweep, profile, set_, study):
        design = file.sweep.design.name
        seeds = len(file.sweep.seeds)
        if file.sweep.search:
            size = f"up to {file.sweep.num_search_trials} trials"
        else:
            size = f"{seeds} seed{'s' if seeds > 1 else ''} for each variant"
        name = f"{sweep}, study {file.study}" if file.study else sweep
        then = f"`archsweep plan {sweep}` shows the variants and their cost"
        print(visible(f"{name}: ok ({design} design, {size}; {then})"))


def load_all_checked(
    path: SweepArgument, profile: str | None, overrides: list[str] | None, study: str | None = None
) -> list[SweepFile]:
    """The sweeps of a file, one for each of its studies, with sampler and pruner driven dry as well.

    Raises:
        SpecError: everything wrong with the file.
    """
    files = load_studies(path, profile=profile, overrides=overrides or (), study=study)
    problems = [problem for file in files for problem in _optuna_problems(file)]
    if problems:
        raise SpecError(dict.fromkeys(problems))
    return files


def _optuna_problems(file: SweepFile) -> list[Problem]:
    sweep = file.sweep
    if not (sweep.prune or sweep.search or sweep.retune):
        return []
    # Optuna takes half a second to import: only sweeps that name its classes pay for it.
    from runners.search.dry_run import dry_run_problems

    return [file.problem(each.path, each.message, each.hint) for each in dry_run_problems(sweep)]
