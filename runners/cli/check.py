"""`archsweep check`: validation of a sweep file, without importing torch."""

from __future__ import annotations

from runners.cli.arguments import Overrides, Profile, Study, SweepArgument
from runners.session.sweeps import load_all_checked
from search_space.parsing.visible import visible

__all__ = ["check"]


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
