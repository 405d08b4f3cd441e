"""`archsweep check`: is the file right? Answers without importing torch."""

from __future__ import annotations

from runners.cli.arguments import Overrides, Profile, SweepArgument
from search_space import SpecError, SweepFile, load_sweep

__all__ = ["check", "load_checked"]


def check(sweep: SweepArgument, profile: Profile = None, set_: Overrides = None) -> None:
    """Check a sweep file and list everything that is wrong with it."""
    file = load_checked(sweep, profile, set_)
    design = file.sweep.design.name
    seeds = len(file.sweep.seeds)
    if file.sweep.search:
        size = f"up to {file.sweep.search.num_trials} trials"
    else:
        size = f"{seeds} seed{'s' if seeds > 1 else ''} for each variant"
    print(f"{sweep}: ok ({design} design, {size}; `archsweep plan {sweep}` shows the variants and their cost)")


def load_checked(path: SweepArgument, profile: str | None, overrides: list[str] | None) -> SweepFile:
    """The sweep, with the names it gives Optuna checked as well.

    Raises:
        SpecError: everything wrong with the file.
    """
    file = load_sweep(path, profile=profile, overrides=overrides or ())
    sweep = file.sweep
    if not (sweep.prune or sweep.search):
        return file
    # Optuna takes half a second to import: only sweeps that name its classes pay for it.
    from runners.optuna_names import make_pruner, make_sampler

    problems = []
    for make in (
        lambda: sweep.prune and make_pruner(sweep.prune.pruner, sweep.prune.options),
        lambda: sweep.search and make_sampler(sweep.search.sampler, sweep.search.options, seed=sweep.search.seed),
    ):
        try:
            make()
        except SpecError as err:
            problems += [file.problem(problem.path, problem.message, problem.hint) for problem in err.problems]
    if problems:
        raise SpecError(problems)
    return file
