"""`archsweep check`: validation of a sweep file, without importing torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from runners.cli.arguments import AsJson, Overrides, Profile, Study, SweepArgument
from runners.session.sweeps import load_all_checked
from search_space import SweepFile
from search_space.designs.path import choosing_seeds
from search_space.parsing.visible import visible

__all__ = ["check"]


def check(
    sweep: SweepArgument,
    profile: Profile = None,
    set_: Overrides = None,
    study: Study = None,
    as_json: AsJson = False,
) -> None:
    """Validate a sweep file; list all problems at once."""
    files = load_all_checked(sweep, profile, set_, study)
    if as_json:
        _write_json(sweep, files)
        return
    for file in files:
        design = file.sweep.design.name
        seeds = len(file.sweep.seeds)
        if file.sweep.search:
            size = f"up to {file.sweep.num_search_trials} trials"
        elif rounds := file.sweep.rounds:
            looks = ", ".join(map(str, rounds.all_looks))
            size = f"looks with {looks} seeds"
        elif design == "path":
            choosing = len(choosing_seeds(file.sweep))
            size = f"{choosing} seed{'s' if choosing > 1 else ''} to choose, {seeds - choosing} to judge"
        else:
            size = f"{seeds} seed{'s' if seeds > 1 else ''} for each variant"
        name = f"{sweep}, study {file.study}" if file.study else sweep
        then = f"`archsweep plan {sweep}` shows the variants and their cost"
        print(visible(f"{name}: ok ({design} design, {size}; {then})"))


def _write_json(path: Path, files: Sequence[SweepFile]) -> None:
    from runners.cli.documents.document import write_document
    from runners.cli.documents.of_sweeps import CheckDocument, CheckedEntry

    found = [
        CheckedEntry(
            sweep=file.sweep.name,
            study=file.study,
            design=file.sweep.design.name,
            metric=file.sweep.metric,
            seeds=list(file.sweep.seeds),
            num_search_trials=file.sweep.num_search_trials if file.sweep.search else None,
        )
        for file in files
    ]
    write_document(CheckDocument(file=str(path), sweeps=found), sys.stdout)
