"""`archsweep preregister`: freezes the plan of a sweep before its first result."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from runners.cli.arguments import Overrides, Profile, Study, SweepArgument
from runners.session.sweeps import knowing_runs, load_all_checked, one_directory, run_dir_of, study_run_dirs
from search_space import Problem, SpecError, SweepFile
from search_space.parsing.visible import visible

__all__ = ["preregister"]


def preregister(
    sweep: SweepArgument,
    profile: Profile = None,
    set_: Overrides = None,
    study: Study = None,
    out: Annotated[Path | None, typer.Option(help="Run directory. Default: as for run.")] = None,
) -> None:
    """Freeze the plan of a sweep before its first result, with its hash and the date.

    Writes preregistration.json into the run directory. Tables of the run then state date and hash, and what differs.
    """
    files = load_all_checked(sweep, profile, set_, study)
    one_directory(files, out)
    siblings = study_run_dirs(files[0])
    for file in files:
        _freeze(knowing_runs(file, siblings), out or run_dir_of(file))


def _freeze(file: SweepFile, path: Path) -> None:
    # Heavy: torch and timm.
    from results.plan.preregistration import digest_of, frozen, preregistered, read_preregistration
    from results.store.files import atomic_write
    from results.store.ledger import read_ledger
    from results.store.run_layout import RunDir
    from runners.planning.make_plan import make_plan

    files = RunDir(path)
    if any(not record.role and record.status == "completed" for record in read_ledger(files.ledger).records):
        hint = "a plan is preregistered before its first result: choose another run directory, --out DIR"
        raise SpecError(Problem("the run has results already", where=str(path), hint=hint))
    plan = make_plan(file).as_run_plan()
    there, digest = read_preregistration(files.preregistration), digest_of(frozen(plan))
    if there is not None and there[0].digest != digest:
        hint = f"remove {files.preregistration} if that plan was never published, or choose another run directory"
        message = f"another plan was preregistered here on {there[0].date}"
        raise SpecError(Problem(message, where=str(path), hint=hint))
    if there is None:
        files.path.mkdir(parents=True, exist_ok=True)
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        atomic_write(files.preregistration, preregistered(plan, date))
    print(visible(f"{plan.sweep}: {files.preregistration}"))
    print(f"SHA-256 of the plan: {digest}")
    print("The date is this machine's: to prove it, publish the hash where others date it (a commit, OSF, an e-mail).")
