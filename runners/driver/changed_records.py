"""Records of a continued run that are of other data, code or software than a trial would be trained with now.

One rule: data first. Records of other data never count again. Records of other code or software count only with
`--changed keep`; with `--changed retrain` their trials are trained again. Without the flag a start that would train
trials beside them is refused, because their seeds would share a mean. Nothing is deleted from the ledger.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from results import LedgerWriter, RecordSummary, TrialRecord, latest_by_trial, read_ledger
from results.plan.stored import Origin
from results.run_files.plugin_sources import kept_sources
from results.store.files import atomic_write
from results.store.record_summary import origin_key
from results.store.run_layout import RunDir
from runners.cache.code_version import code_version, plugins_of
from runners.cache.origin import Origins
from runners.data.fingerprint import Fingerprint, Folder, difference
from runners.data.first_weights import WEIGHTS_MARK
from runners.planning.plan import Plan
from runners.planning.trainings import num_trials_here
from search_space import Problem, SpecError, TrialSpec
from search_space.schema.task import CommandSpec

__all__ = ["Changed", "ChangedRecords", "find_changed_records", "write_fingerprints"]

Changed = Literal["refuse", "retrain", "keep"]


@dataclass(frozen=True)
class ChangedRecords:
    """Records of the plan's trials whose origin is not the present one.

    Attributes:
        stale: their origins.
        counts: origin -> number of trials that have no record of the present origin, and are decided by it.
        differences: one line for each thing that changed, for messages.
        of_other_data: those of the origins that are of other data.
        is_mixed: whether trials with the present origin are there or still to be trained.
    """

    stale: tuple[Origin, ...]
    counts: Mapping[Origin, int]
    differences: tuple[str, ...]
    of_other_data: tuple[Origin, ...]
    is_mixed: bool

    def superseded(self, changed: Changed, run_dir: RunDir) -> tuple[Origin, ...]:
        """The origins whose records do not count in this start.

        Raises:
            SpecError: the start would mix, and the user has not said what to do.
        """
        if changed == "retrain" or not self.counts:
            return self.stale
        if changed == "keep":
            return self.of_other_data
        if self.is_mixed:
            raise SpecError(self._refusal(run_dir))
        return ()

    @property
    def num_trials(self) -> int:
        return sum(self.counts.values())

    def notice(self, changed: Changed) -> str:
        """What a start that goes on says about them; empty if there is nothing to say."""
        if not self.counts:
            return ""
        what = "; ".join(self.differences)
        trials, were = _trials(self.num_trials), _were(self.num_trials)
        if changed == "retrain":
            return f"{trials} of other data, code or software will be trained again ({what})"
        if changed == "keep":
            lost = sum(self.counts.get(origin, 0) for origin in self.of_other_data)
            again = f"; {_trials(lost)} of other data will be trained again" if lost else ""
            count = _trials(self.num_trials - lost)
            return f"{count} of other code or software count, and the table says so{again} ({what})"
        return f"{trials} {were} trained with other data, code or software than is here now ({what}); --changed retrain"

    def _refusal(self, run_dir: RunDir) -> Problem:
        lines = [*self.differences, "seeds of both do not belong into one mean; choose:"]
        lines.append(f"  --changed retrain   train {_these(self.num_trials)} again; the old records stay in the ledger")
        if not set(self.counts) <= set(self.of_other_data):
            lines.append(
                "  --changed keep      count records of other code or software, never of other data; tables say so"
            )
        lines.append("  --out DIR           start a run of its own")
        return Problem(
            f"{_trials(self.num_trials)} {_were(self.num_trials)} trained with other data, code or software "
            "than the others would be",
            where=str(run_dir),
            hint="\n".join(lines),
        )


def find_changed_records(plan: Plan, ledger: LedgerWriter, origins: Origins) -> ChangedRecords:
    """Compare the origin of every deciding record of the plan with the present one.

    Raises:
        SpecError: the present data cannot be read.
    """
    planned = [each for each in ledger.summaries if _is_planned(plan, each)]
    settings = [variant.setting for variant in plan.variants] or [plan.sweep.baseline]
    present = {origin_key(origins.of(setting)) for setting in settings}
    # A search has settings that the plan does not list: a record of each unknown origin decides.
    examples = _examples(ledger, {origin_key(each) for each in planned} - present)
    now = {key: _present_origin(origins, record) for key, record in examples.items()}
    stale = {key: examples[key].origin for key in sorted(examples) if now[key] != examples[key].origin}
    decided = latest_by_trial(planned)
    current = latest_by_trial(planned, stale.values())
    counts = Counter(stale[origin_key(each)] for trial, each in decided.items() if trial not in current)
    differences = dict.fromkeys(
        line
        for key, origin in stale.items()
        if origin in counts
        for line in _differences(origin, now[key], ledger.run_dir, origins, examples[key])
    )
    of_other_data = [stale[key] for key in stale if key[0] and ((at := now[key]) is None or at.data != key[0])]
    is_mixed = bool(current) or len(decided) < num_trials_here(plan)
    return ChangedRecords(tuple(stale.values()), counts, tuple(differences), tuple(of_other_data), is_mixed)


def write_fingerprints(run_dir: RunDir, fingerprints: Iterable[Fingerprint]) -> None:
    """Keep what the fingerprints are of, so that a later start can say what changed."""
    for found in fingerprints:
        path = run_dir.fingerprint(found.digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, json.dumps(dataclasses.asdict(found), indent=1) + "\n")


def read_fingerprint(run_dir: RunDir, digest: str) -> Fingerprint | None:
    """A fingerprint that an earlier start wrote; None where it is missing or damaged."""
    try:
        content = json.loads(run_dir.fingerprint(digest).read_bytes())
        folders = {name: Folder(**folder) for name, folder in content.pop("folders").items()}
        return Fingerprint(**content, folders=folders)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _is_planned(plan: Plan, summary: RecordSummary) -> bool:
    if plan.sweep.search or summary.role:
        return True
    return summary.seed in plan.sweep.seeds and any(each.variant_id == summary.variant_id for each in plan.variants)


def _examples(ledger: LedgerWriter, wanted: set[tuple[str, str, str]]) -> dict[tuple[str, str, str], TrialRecord]:
    found: dict[tuple[str, str, str], TrialRecord] = {}
    if not wanted:
        return found
    for record in read_ledger(ledger.path, curves=False).records:
        if origin_key(record) in wanted:
            found.setdefault(origin_key(record), record)
    return found


def _present_origin(origins: Origins, record: TrialRecord) -> Origin | None:
    """The origin that this trial would have now; None if its spec or its data is no longer known."""
    try:
        return origins.of(TrialSpec.model_validate(record.spec))
    except (ValidationError, SpecError, KeyError):
        return None


def _differences(
    old: Origin, new: Origin | None, run_dir: RunDir, origins: Origins, record: TrialRecord
) -> Iterable[str]:
    task = record.spec.get("task", {})
    is_own_training = task.get("name") in ("python", "command")
    data = "files of the task" if is_own_training else f"data of {task.get('dataset', {}).get('name', 'the dataset')}"
    if new is None:
        yield f"{data}: not here, or its options are no longer known"
        return
    if not any(origin_key(old)):
        yield "an archsweep before 0.3 did not record data, code and software"
        return
    if old.data != new.data:
        (old_data, _, old_weights), (new_data, _, new_weights) = (
            each.data.partition(WEIGHTS_MARK) for each in (old, new)
        )
        if old_weights != new_weights:
            weights = record.spec.get("arch", {}).get("weights")
            yield f"first weights ({weights}) changed: {old_weights or 'none'} -> {new_weights or 'none'}"
        if old_data == new_data:
            return
        before, after = (read_fingerprint(run_dir, digest) for digest in (old_data, new_data))
        after = after or next((each for each in origins.fingerprints if each.digest == new_data), None)
        what = difference(before, after) if before and after else f"{old_data} -> {new_data}"
        yield f"{data} changed: {what}"
    if record.numerics != (form := origins.numerics_of(TrialSpec.model_validate(record.spec))):
        yield f"form of training (numerics): {record.numerics} -> {form}"
    elif old.code != new.code:
        yield _code_difference(old.code, new.code, run_dir, record)
    if old.software != new.software:
        before_, after_ = set(old.software.split(", ")), set(new.software.split(", "))
        yield f"{', '.join(sorted(before_ - after_))} -> {', '.join(sorted(after_ - before_))}"


def _code_difference(old: str, new: str, run_dir: RunDir, record: TrialRecord) -> str:
    """Which code changed: a plug-in's, where its kept sources give the version of the record, else archsweep's."""
    setting = TrialSpec.model_validate(record.spec)
    if isinstance(setting.task, CommandSpec) and old.split(".")[:2] == new.split(".")[:2]:
        return f"the files that argv names changed: {old} -> {new}"
    used = plugins_of(setting)
    for plugin in used:
        for digest, sources in kept_sources(run_dir, plugin.name):
            try:
                if digest != plugin.digest and code_version(setting, earlier={plugin.name: sources}) == old:
                    return f"the plug-in {plugin.name} changed: {digest} -> {plugin.digest}"
            except (SyntaxError, ValueError):  # a file of the run directory that was edited
                continue
    what = "archsweep's code"
    if used:
        what += f" or the code of {', '.join(plugin.name for plugin in used)}"
    return f"{what} of these trials changed: {old} -> {new}"


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _these(count: int) -> str:
    return "it" if count == 1 else f"these {count} trials"
