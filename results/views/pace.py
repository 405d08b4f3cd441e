"""Pace of a run, from its progress events alone, as every live view shows it."""

from __future__ import annotations

from collections.abc import Sequence

from results.store.progress import ProgressEvent

__all__ = ["pace_line", "throughput"]

_RECENT_SECONDS = 900.0


def throughput(events: Sequence[ProgressEvent], now: float) -> tuple[float, float]:
    """Trials per hour and epochs per minute, over the last 15 minutes or since the start of the run, if shorter."""
    complete_from = max((event.t for event in events if event.event == "cut"), default=0.0)
    recent = [event for event in events if max(now - _RECENT_SECONDS, complete_from) <= event.t <= now]
    if not recent:
        return 0.0, 0.0
    seconds = max(1.0, now - min(event.t for event in recent))
    ended = sum(event.event == "end" for event in recent)
    epochs = sum(event.event == "epoch" for event in recent)
    return 3600 * ended / seconds, 60 * epochs / seconds


def pace_line(events: Sequence[ProgressEvent], now: float) -> str:
    """The throughput as text: `pace: 175 trials per hour, 37.9 epochs per minute`."""
    trials, epochs = throughput(events, now)
    # Until the first trial has ended, the rate of trials is unknown, not zero.
    per_hour = f"{trials:.3g} trials per hour, " if trials else ""
    return f"pace: {per_hour}{epochs:.3g} epochs per minute"
