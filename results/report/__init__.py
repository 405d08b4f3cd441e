"""The report of a run as one HTML file; not imported by `results`, because figures need altair and pandas."""

from __future__ import annotations

from results.report.document import Report, Subject, make_report

__all__ = ["Report", "Subject", "make_report"]
