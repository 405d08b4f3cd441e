"""Designs whose results decide which trials are asked for next: rounds of seeds, and paths.

The decisions are those of `results/table/asked`, functions of the records: nothing is remembered beside the ledger, so
a driver that was killed between two of them goes on as if it had not been.
"""

from __future__ import annotations

from results import RecordSummary
from results.table.asked.by_results import seeds_asked
from runners.driver.trial_records import TrialRecords
from runners.planning.plan import Plan
from search_space import trial_id

__all__ = ["AskedTrials"]


class AskedTrials:
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
        for key, seeds in seeds_asked(self._run_plan, self._ended()).items():
            for seed in seeds:
                if seed not in self._asked[key]:
                    trial = self._asked[key][seed] = trial_id(self._settings[key].with_seed(seed))
                    added[trial] = seed
        return added

    def _ended(self) -> dict[str, dict[int, RecordSummary]]:
        """Deciding records of the trials that are not to be trained (again): variant -> seed -> summary."""
        found: dict[str, dict[int, RecordSummary]] = {}
        for key, seeds in self._asked.items():
            records = {seed: self._records.ended(trial) for seed, trial in seeds.items()}
            found[key] = {seed: record for seed, record in records.items() if record is not None}
        return found
