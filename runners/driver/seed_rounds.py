"""Rounds of seeds: which trials are asked for next, by the results of those that ended.

The decisions are those of `results/table/rounds.py`, a function of the records: nothing is remembered beside the
ledger, so a driver that was killed at a look goes on as if it had not been.
"""

from __future__ import annotations

from results import RecordSummary
from results.table.rounds import standings_of_plan
from runners.driver.trial_records import TrialRecords
from runners.planning.plan import Plan
from search_space import trial_id

__all__ = ["SeedRounds"]


class SeedRounds:
    """Seeds of every variant that are asked for so far."""

    def __init__(self, plan: Plan, records: TrialRecords) -> None:
        self._records = records
        self._run_plan = plan.as_run_plan()
        self._settings = {variant.variant_id: variant.setting for variant in plan.variants}
        self._asked: dict[str, dict[int, str]] = {key: {} for key in self._settings}  # variant -> seed -> trial id

    @property
    def num_asked(self) -> int:
        """Trials that are asked for so far."""
        return sum(len(seeds) for seeds in self._asked.values())

    def further(self) -> dict[str, int]:
        """Trials that are asked for and were not before, by the results of now: trial id -> seed."""
        added: dict[str, int] = {}
        for key, standing in standings_of_plan(self._run_plan, self._ended()).items():
            for seed in self._run_plan.seeds[: standing.num_seeds]:
                if seed not in self._asked[key]:
                    trial = self._asked[key][seed] = trial_id(self._settings[key].with_seed(seed))
                    added[trial] = seed
        return added

    def _ended(self) -> dict[str, dict[int, RecordSummary]]:
        """Deciding records of the trials that are not to be trained (again): variant -> seed -> summary."""
        found: dict[str, dict[int, RecordSummary]] = {}
        for key, seeds in self._asked.items():
            records = {seed: self._records.find(trial) for seed, trial in seeds.items()}
            found[key] = {seed: record for seed, record in records.items() if record is not None}
        return found
