"""Runs -> one HTML file that needs nothing from elsewhere.

The page may run its own three scripts and nothing else: the policy names them by their hashes, so that markup which
slipped through would still be inert, and it may ask no network for anything. Equal ledgers give equal bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from results.exporters.html import SCRIPT, STYLE, fragment
from results.figures import Evidence, Figure, draw_figures
from results.report.assets import DRAWING, REPORT_STYLE, script_hash, text, vega_script
from results.report.figure_section import drawn
from results.report.provenance import provenance_section, reproduction_section, sessions_of, sweep_description
from results.report.trials import trial_sections
from results.store.run import Run
from results.store.run_layout import IN_RUN_DIR
from results.table.merge import table_of_runs
from results.table.table import AblationTable

__all__ = ["Report", "Subject", "make_report"]

_MOST_NAMED = 6
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Subject:
    """One run of the report.

    Attributes:
        importances: method -> parameter -> share, for a search.
        remarks: what else should be said of this run, such as why there are no importances.
    """

    run: Run
    importances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The page, and its figures by the names of their files."""

    html: str
    figures: tuple[tuple[str, Figure], ...]


def make_report(subjects: Sequence[Subject]) -> Report:
    """The report of one run, or of several that can stand in one table.

    Raises:
        SpecError: a table cannot be made of them.
    """
    whole = table_of_runs([subject.run for subject in subjects])
    tables = [table_of_runs([subject.run]) for subject in subjects]
    names = [study.name for study in whole.studies] or [""]
    figures: list[tuple[str, Figure]] = []
    sections = [("table", "Ablation table", fragment(whole))]
    for index, (subject, table, name) in enumerate(zip(subjects, tables, names, strict=True), start=1):
        prefix = f"run{index}-" if len(subjects) > 1 else ""
        others = tuple(one for one in tables if one is not table)
        made, lacking = draw_figures(Evidence(subject.run, table, others, subject.importances))
        figures += [(prefix + figure.name, figure) for figure in made]
        if prefix:
            sections.append((f"{prefix}top", f"Run: {name}", _summary(subject.run, table)))
        sections += [(prefix + figure.name, "", drawn(prefix + figure.name, figure)) for figure in made]
        sections += [(prefix + key, title, body) for key, title, body in trial_sections(table)]
        sections += _about(subject, table, lacking, prefix)
    title = whole.sweep + (f" ({whole.profile})" if whole.profile else "")
    description = sweep_description(sessions_of(subjects[0].run)) if len(subjects) == 1 else ""
    head = f"<h1>{text(title)}</h1>\n" + (f'<p class="lead">{text(description)}</p>\n' if description else "")
    if len(subjects) == 1:
        head += _summary(subjects[0].run, tables[0])
    titles = dict(figures)
    # Of several runs each has one link: a dozen equal words per run guide nobody.
    links = "".join(
        f'<a href="#{key}">{text(heading or titles[key].title)}</a>'
        for key, heading, _ in sections
        if len(subjects) == 1 or key == "table" or key.endswith("-top")
    )
    body = "".join(
        f'<section id="{key}">\n<h2>{text(heading)}</h2>\n{content}</section>\n' if heading else content
        for key, heading, content in sections
    )
    return Report(_page(title, f"{head}<nav>{links}</nav>\n{body}", has_charts=bool(figures)), tuple(figures))


def _about(
    subject: Subject, table: AblationTable, lacking: Mapping[str, str], prefix: str
) -> Iterable[tuple[str, str, str]]:
    remarks = [*subject.remarks, *(f"{name.replace('_', ' ')}: {reason}" for name, reason in lacking.items())]
    if remarks:
        items = "".join(f"<li>{text(remark)}</li>" for remark in remarks)
        yield f"{prefix}left-out", "Left out of this report", f"<ul>{items}</ul>\n"
    sessions = sessions_of(subject.run)
    if provenance := provenance_section(table, sessions):
        yield f"{prefix}provenance", "Provenance", provenance
    if reproduction := reproduction_section(subject.run, sessions, key=f"{prefix}{IN_RUN_DIR.sweep}"):
        yield f"{prefix}reproduce", "How to reproduce", reproduction


def _summary(run: Run, table: AblationTable) -> str:
    """How far the run is, and what its variants came to."""
    planned = sum(row.num_planned for row in table.rows)
    completed = sum(row.num_completed for row in table.rows)
    failed, pruned = (sum(getattr(row, name) for row in table.rows) for name in ("num_failed", "num_pruned"))
    counts = [f"{completed} of {planned} trials completed"]
    counts += [f"{failed} failed"] if failed else []
    counts += [f"{pruned} pruned"] if pruned else []
    lines = [f'<p class="lead">{", ".join(counts)}. {text(_verdicts(table))}</p>\n']
    if run.driver is not None:
        lines.append('<p class="warning">The run is still going on; this is how it stood.</p>\n')
    if failed:
        lines.append('<p class="warning">Some trials failed; their rows are incomplete.</p>\n')
    return "".join(lines)


def _verdicts(table: AblationTable) -> str:
    verdicts = [(row.verdict, row.name) for row in table.rows if row.verdict]
    if table.design == "search" or not verdicts:
        return ""
    counted = Counter(verdict for verdict, _ in verdicts)
    parts = []
    for verdict in dict.fromkeys(verdict for verdict, _ in verdicts):
        names = [name for one, name in verdicts if one == verdict]
        told = f" ({', '.join(names)})" if verdict in ("better", "worse") and len(names) <= _MOST_NAMED else ""
        parts.append(f"{counted[verdict]} {verdict}{told}")
    return f"Against the baseline: {', '.join(parts)}."


def _page(title: str, body: str, *, has_charts: bool) -> str:
    scripts = [(SCRIPT, ""), *([(vega_script(), ' type="module"'), (DRAWING, ' type="module"')] if has_charts else [])]
    allowed = " ".join(script_hash(f"\n{script}") for script, _ in scripts)
    policy = f"{_POLICY}; script-src {allowed}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{STYLE}{REPORT_STYLE}</style>\n</head>\n<body>\n{body}"
        + "".join(f"<script{kind}>\n{script}</script>\n" for script, kind in scripts)
        + "</body>\n</html>\n"
    )
