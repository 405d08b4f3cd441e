"""The report of runs as one self-contained HTML file.

The page may run its own three scripts only: the policy names them by their hashes, so that unescaped markup would still
be inert, and it may make no network request. Equal ledgers give equal bytes.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import vl_convert
from markupsafe import Markup

from results.effects.path import path_effects
from results.effects.shapley import shapley
from results.exporters.html import fragment
from results.figures import Evidence, Figure, draw_figures, failed
from results.layout.sentences.path import (
    choice_cells,
    choice_heads,
    choice_statement,
    path_cells,
    path_heads,
    path_statements,
)
from results.layout.sentences.shapley import shapley_cells, shapley_heads, shapley_statements
from results.markup.html_templates import asset, render
from results.report.figure_section import figure_section
from results.report.provenance import provenance_section, reproduction_section, sweep_description
from results.report.section import Section, section
from results.report.trials import listing, trial_sections
from results.store.provenance import read_sessions
from results.store.run import Run
from results.table.merge import table_of_runs
from results.table.table import AblationTable

__all__ = ["Report", "RunSections", "Subject", "make_report", "script_hash", "sections_of_run", "vega_script"]

_MOST_NAMED = 6


@dataclass(frozen=True)
class Subject:
    """One run of the report.

    Attributes:
        importances: method -> parameter -> share, for a search.
        remarks: further statements about this run, such as why there are no importances.
    """

    run: Run
    importances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The page, and its figures by the names of their files."""

    html: str
    figures: tuple[tuple[str, Figure], ...]


@dataclass(frozen=True)
class RunSections:
    """The sections about one run, and its figures by the names of their files.

    Attributes:
        analyses: tables of what the design estimates.
        drawn: one for each figure.
        trials: failed, infeasible and pruned trials, and variants that never ran.
        about: what is left out and why, provenance and reproduction.
    """

    figures: tuple[tuple[str, Figure], ...]
    analyses: tuple[Section, ...]
    drawn: tuple[Section, ...]
    trials: tuple[Section, ...]
    about: tuple[Section, ...]

    @property
    def all(self) -> tuple[Section, ...]:
        """The sections in the order of the report."""
        return (*self.analyses, *self.drawn, *self.trials, *self.about)


def make_report(subjects: Sequence[Subject]) -> Report:
    """The report of one run, or of several that fit into one table.

    Raises:
        SpecError: a table cannot be made of them.
    """
    whole = table_of_runs([subject.run for subject in subjects])
    tables = [table_of_runs([subject.run]) for subject in subjects]
    names = [study.name for study in whole.studies] or [""]
    is_sole = len(subjects) == 1
    figures: list[tuple[str, Figure]] = []
    sections = [Section("table", "Ablation table", fragment(whole))]
    for index, (subject, table, name) in enumerate(zip(subjects, tables, names, strict=True), start=1):
        prefix = "" if is_sole else f"run{index}-"
        others = tuple(one for one in tables if one is not table)
        if not is_sole:
            sections.append(Section(f"{prefix}top", f"Run: {name}", _summary(subject.run, table)))
        of_run = sections_of_run(subject, table, others=others, prefix=prefix)
        figures += of_run.figures
        sections += of_run.all
    # The first script is the table's; charts need the other two.
    scripts = [asset("exporters/assets/table.js")]
    scripts += [vega_script(), asset("report/assets/charts.js")] if figures else []
    page = render(
        "report/assets/page.html.j2",
        title=whole.sweep + (f" ({whole.profile})" if whole.profile else ""),
        description=sweep_description(read_sessions(subjects[0].run.files)) if is_sole else "",
        summary=_summary(subjects[0].run, tables[0]) if is_sole else "",
        sections=sections,
        # Of several runs each has one link: a dozen equal titles per run would not help navigation.
        linked=[one for one in sections if is_sole or one.key == "table" or one.key.endswith("-top")],
        scripts=scripts,
        script_hashes=[script_hash(f"\n{script}") for script in scripts],
    )
    return Report(str(page), tuple(figures))


def _key_of(figure: Figure, prefix: str) -> str:
    """Id of the section. The names of plug-ins are free, and might be that of another section."""
    return f"{prefix}plugin-{figure.name}" if figure.plugin else prefix + figure.name


def sections_of_run(
    subject: Subject, table: AblationTable, *, others: tuple[AblationTable, ...] = (), prefix: str = ""
) -> RunSections:
    """Everything that a report states about one run below its table.

    Args:
        others: tables of the other runs in the same page.
        prefix: of the ids of the sections, unique in the page.
    """
    made, lacking = draw_figures(Evidence(subject.run, table, others, subject.importances))
    figures: list[tuple[str, Figure]] = []
    drawn: list[Section] = []
    for figure in made:
        try:
            drawn.append(figure_section(_key_of(figure, prefix), figure))
        except Exception as err:
            if not figure.plugin:
                raise
            lacking[figure.name] = failed(figure.name, err)
        else:
            figures.append((prefix + figure.name, figure))
    return RunSections(
        figures=tuple(figures),
        analyses=tuple(_analyses(table, prefix)),
        drawn=tuple(drawn),
        trials=tuple(trial_sections(table, prefix)),
        about=tuple(_about(subject, table, lacking, prefix)),
    )


def _analyses(table: AblationTable, prefix: str) -> Iterable[Section]:
    """Shapley values, or the steps of a path, beside what add_one_in and leave_one_out say of the same trials."""
    if table.path is not None:
        steps = path_effects(table)
        how = " ".join(path_statements(table, steps))
        yield listing(f"{prefix}path", "Greedy path", path_heads(table), path_cells(table, steps), how=how)
        if lines := choice_cells(table):
            how = choice_statement(table.path)
            yield listing(f"{prefix}choices", "Candidates of each step", choice_heads(table), lines, how=how)
    if table.design != "shapley" or table.blocks is not None:
        return
    found = shapley(table)
    agreement = (
        "Alone is the gain over no component, as add_one_in measures it; beside all others is the gain that "
        "leave_one_out measures; then the value minus each, at the same seeds. Where these differ from 0, the "
        "component interacts with others."
    )
    how = " ".join((*shapley_statements(table, found), agreement))
    yield listing(f"{prefix}shapley", "Shapley values", shapley_heads(table), shapley_cells(table, found), how=how)


def _about(subject: Subject, table: AblationTable, lacking: Mapping[str, str], prefix: str) -> Iterable[Section]:
    remarks = [*subject.remarks, *(f"{name.replace('_', ' ')}: {reason}" for name, reason in lacking.items())]
    if remarks:
        yield section(f"{prefix}left-out", "Left out of this report", "left_out", remarks=remarks)
    sessions = read_sessions(subject.run.files)
    found = [
        provenance_section(f"{prefix}provenance", table, sessions),
        reproduction_section(prefix, subject.run, sessions),
    ]
    yield from filter(None, found)


def _summary(run: Run, table: AblationTable) -> Markup:
    """Summary of the run: its progress and the verdicts of its variants."""
    choosing = [] if table.path is None else [each for _, each in table.path.choosing_records]
    planned = sum(row.num_planned for row in table.rows) + (table.path.num_choosing if table.path else 0)
    completed = sum(row.num_completed for row in table.rows) + sum(each.status == "completed" for each in choosing)
    failed, pruned = (sum(getattr(row, name) for row in table.rows) for name in ("num_failed", "num_pruned"))
    failed += sum(each.status == "failed" for each in choosing)
    counts = [f"{completed} of {planned} trials completed"]
    counts += [f"{failed} failed"] if failed else []
    counts += [f"{pruned} pruned"] if pruned else []
    values = {"counts": counts, "verdicts": _verdicts(table)}
    return render("report/assets/summary.html.j2", **values, is_running=run.driver is not None, any_failed=bool(failed))


def _verdicts(table: AblationTable) -> str:
    verdicts = [(row.verdict, row.name) for row in table.rows if row.verdict]
    if table.design == "search" or not verdicts:
        return ""
    counted = Counter(verdict for verdict, _ in verdicts)
    parts = []
    for verdict in dict.fromkeys(verdict for verdict, _ in verdicts):
        names = [name for one, name in verdicts if one == verdict]
        listed = f" ({', '.join(names)})" if verdict in ("better", "worse") and len(names) <= _MOST_NAMED else ""
        parts.append(f"{counted[verdict]} {verdict}{listed}")
    return f"Against the baseline: {', '.join(parts)}."


def script_hash(script: str) -> str:
    """The hash of the script as the Content-Security-Policy names it, which allows no other script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@functools.cache
def vega_script() -> Markup:
    """A JavaScript module that defines `window.vegaEmbed`; about 0.9 MB, the same bytes at every call."""
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # Both can only occur in a string or a regular expression, where `\\x3c` is `<`.
    bundle = bundle.replace("</script", "\\x3c/script").replace("<!--", "\\x3c!--")
    return asset("report/assets/vega_licence.js") + Markup(bundle)
