"""The page of one trial: its curves, metrics, failure, spec and provenance, the end of its log, its samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pydantic_core import to_json

from results.figures.samples import picture_of_trial
from results.live.curve_svg import chart, points_of
from results.live.file_tail import file_stamp, read_tail
from results.live.part import Part, page
from results.live.run_state import RunState, iso_time
from results.live.watched_run import WatchedRun
from results.markup.html_templates import render
from results.predictions.samples_file import UnreadableSamples, read_samples
from results.store.ledger import LedgerScan, open_ledger
from results.store.ledger_line import LedgerLine
from results.store.links import open_within
from results.store.progress import UnfinishedTrial
from results.store.record_summary import RecordSummary, latest_by_trial
from results.store.records import TrialRecord
from results.store.run_layout import TrialDir
from search_space.parsing.secrets import masked
from search_space.parsing.visible import visible

__all__ = ["Found", "find_trial", "samples_picture", "trial_page", "trial_part", "trial_version"]

_LAST_LINES = 60
_LOSSES = ("train_loss", "val_loss", "loss")
_MOST_CHARTS = 8


@dataclass(frozen=True)
class Found:
    """A trial of a run: ended, or begun and without a record. Exactly one of the two is not None."""

    key: str
    state: RunState
    record: TrialRecord | RecordSummary | None
    unfinished: UnfinishedTrial | None

    @property
    def trial_id(self) -> str:
        each = self.record or self.unfinished
        assert each is not None
        return each.trial_id

    @property
    def title(self) -> str:
        each = self.record or self.unfinished
        assert each is not None
        return f"{visible(each.variant)}, seed {each.seed}"

    @property
    def files(self) -> TrialDir:
        # Names of trials are hashes; the last part of a hostile one leads nowhere else.
        return self.state.run.files.trial(Path(self.trial_id).name)


def find_trial(state: RunState, key: str) -> Found | None:
    """The trial of this key; None where there is none. One that runs again is shown as running."""
    if (begun := state.unfinished.get(key)) is not None:
        return Found(key, state, None, begun)
    record = state.records.get(key)
    return Found(key, state, record, None) if record is not None else None


def trial_page(run: WatchedRun, found: Found) -> str:
    """The whole page."""
    trail = [("all runs", "/"), (visible(run.found.name), f"/run/{run.found.key}")]
    address = f"/run/{run.found.key}/trial/{found.key}"
    return page(found.title, address, [trial_part(run, found)], trail=trail)


def trial_version(found: Found) -> str:
    """Changes with what the page shows, without reading more than the state of the run."""
    record, begun = found.record, found.unfinished
    what = (record.status, record.attempt, record.finished_at) if record else ()
    if begun:
        what = (begun.last_seen, begun.epoch, found.state.state)
    seen = (what, file_stamp(found.files.log), file_stamp(found.files.samples))
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]


def trial_part(run: WatchedRun, found: Found) -> Part:
    """The content of the page."""
    record = _whole_record(found) if found.record else None
    curve = record.curve if record else found.unfinished.curve if found.unfinished else ()
    plan = found.state.run.plan
    status = record.status if record else ("running" if found.state.run.driver else "interrupted")
    body = render(
        "live/assets/trial.html.j2",
        run_key=run.found.key,
        key=found.key,
        status=status,
        record=record,
        begun=found.unfinished,
        since=iso_time(found.unfinished.started) if found.unfinished else "",
        charts=list(_charts(curve, plan.metric, plan.epochs)),
        metrics=sorted(record.metrics.items()) if record else [],
        changes=[(path, _short(value)) for path, value in record.changes.items()] if record else [],
        facts=list(_facts(record)) if record else [],
        spec=masked(_pretty(record.spec)) if record else "",
        tail=read_tail(found.files.log, found.state.run.files, lines=_LAST_LINES),
        has_samples=found.files.samples.is_file(),
    )
    return Part("trial", trial_version(found), body)


def samples_picture(found: Found) -> str | None:
    """SVG of the samples that the trial kept; None where there are none that can be read."""
    try:
        open_within(found.files.samples, found.state.run.files).close()
        return picture_of_trial(read_samples(found.files.samples), found.title)
    except (OSError, UnreadableSamples):
        return None


def _whole_record(found: Found) -> TrialRecord | None:
    """The deciding record with its spec and curve: only lines that hold the id are decoded."""
    files = found.state.run.files
    with open_ledger(files.ledger) as stream:
        if stream is None:
            return None
        # As JSON writes it; a ledger of another program may escape other characters, and is then read in whole.
        needle = json.dumps(found.trial_id).encode()
        lines = [line for line in stream if needle in line]
        stream.seek(0)
        records = _records(LedgerScan(files.ledger, iter(lines)), found.trial_id) or _records(  # type: ignore[arg-type]
            LedgerScan(files.ledger, stream), found.trial_id
        )
    return latest_by_trial(records, found.state.run.plan.superseded).get(found.trial_id)


def _records(scan: LedgerScan, trial_id: str) -> list[TrialRecord]:
    return [each.record() if isinstance(each, LedgerLine) else each for each in scan if each.trial_id == trial_id]


def _charts(curve: Sequence[Mapping[str, float]], metric: str, epochs: int | None) -> Iterator[tuple[str, Markup]]:
    """Title and picture of each chart: the metric on both splits, the losses, then every other quantity."""
    seen = dict.fromkeys(name for point in curve for name in point if name != "epoch")
    groups = [[name for name in (f"val_{metric}", metric) if name in seen], [name for name in _LOSSES if name in seen]]
    taken = {name for group in groups for name in group}
    rest = dict.fromkeys(name.removeprefix("val_") for name in seen if name not in taken)
    groups += [[each for each in (f"val_{name}", name) if each in seen and each not in taken] for name in rest]
    for group in list(filter(None, groups))[:_MOST_CHARTS]:
        drawn = chart([(name, points_of(curve, name)) for name in group], epochs=epochs)
        if drawn:
            yield ", ".join(group), drawn


def _facts(record: TrialRecord) -> Iterator[tuple[str, str]]:
    numbers = {
        "epochs": record.epochs or None,
        "parameters (M)": record.params_m,
        "trainable (M)": record.trainable_params_m,
        "GMACs": record.gmacs,
        "training (s)": record.train_seconds,
        "in total (s)": record.total_seconds,
        "attempt": record.attempt if record.attempt > 1 else None,
        "resumed from epoch": record.resumed_from_epoch,
        "trial of the search": record.number,
    }
    yield from ((name, f"{value:.6g}") for name, value in numbers.items() if value is not None)
    texts = {
        "trial": record.trial_id,
        "variant": record.variant_id,
        "finished": record.finished_at,
        "device": record.device,
        "precision": record.precision,
        "host": record.host,
        "role": record.role,
        "taken over from": record.cached_from,
        "trained by": record.trained_by,
        "numerics": record.numerics,
        "data": record.data,
        "code": record.code,
        "software": record.software,
    }
    yield from ((name, masked(text)) for name, text in texts.items() if text)
    yield from (("note", note) for note in record.notes)


def _short(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value, inf_nan_mode="strings", fallback=str).decode()


def _pretty(spec: Mapping[str, Any]) -> str:
    return to_json(spec, indent=2, inf_nan_mode="strings", fallback=str).decode()
