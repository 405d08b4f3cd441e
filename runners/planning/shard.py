"""Shares of a fixed design that several drivers train without knowing one another (`archsweep run --shard 2/8`).

Training number i of the plan, seed by seed, belongs to shard i mod count: a division that every driver computes by
itself, and that gives each the same number of trainings, one more or less. Each shard has a run directory of its own,
because a ledger has one writer; `--collect` makes one run of them (runners/driver/collect.py).

Searches, `retune`, `prune`, looks and paths decide by the results of other trials, which a shard does not have: they
are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from search_space import Problem, SpecError, SweepFile

__all__ = ["Shard", "shard_problems"]

_SHARD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True)
class Shard:
    """Share `number`, from 1, of `count`."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that `2/8` names.

        Raises:
            SpecError: it names none.
        """
        found = _SHARD.fullmatch(text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            hint = "NUMBER/COUNT with NUMBER from 1 to COUNT, e.g. --shard 2/8"
            raise SpecError(Problem(f"not a shard: {text!r}", where="--shard", hint=hint))
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def holds(self, index: int) -> bool:
        """Whether training `index` of the plan, from 0, belongs to this shard."""
        return index % self.count == self.number - 1

    def run_dir(self, whole: Path) -> Path:
        """The default run directory of the shard, beside that of the whole run: `runs/NAME-shards/2-of-8`."""
        return whole.with_name(f"{whole.name}-shards") / f"{self.number}-of-{self.count}"


def shard_problems(file: SweepFile) -> Iterator[Problem]:
    """Reasons why the trials of a sweep cannot be trained apart."""
    sweep = file.sweep
    each = {
        "search": (sweep.search, "a search proposes trials by the results of earlier ones"),
        "retune": (sweep.retune, "tuned variants are trained after the trials that tuned them"),
        "prune": (sweep.prune, "a pruner compares a trial with all others"),
        "seeds": (sweep.rounds, "a look needs the results of all trials"),
        "design": (sweep.design.name == "path" or None, "a step of a path is chosen by the results of the one before"),
    }
    instead_of = {"seeds": "write a count of seeds", "design": "choose another design"}
    for name, (section, reason) in each.items():
        if section is not None:
            hint = "run the whole sweep on one Ray cluster (`archsweep launch slurm`)"
            instead = instead_of.get(name, f"drop `{name}`")
            yield file.problem(name, f"cannot be divided into shards: {reason}", f"{hint}, or {instead}")
