"""`archsweep import-runs` in this process."""

from __future__ import annotations

import csv
import io

import pytest
from typer.testing import CliRunner

from results import EXPORTERS, Run, table_of_runs
from runners.cli.app import app
from search_space import SpecError


@pytest.fixture
def import_runs(tmp_path, monkeypatch):
    """Calls the verb in a folder of its own; returns what it prints, or its problems as text."""
    monkeypatch.chdir(tmp_path)

    def import_(*arguments: str) -> str:
        ended = CliRunner().invoke(app, ["import-runs", *arguments])
        if isinstance(ended.exception, SpecError):
            return str(ended.exception)
        assert ended.exit_code == 0, ended.output
        return ended.output

    return import_


@pytest.fixture
def exported():
    """The table of runs in a format."""

    def export(format_: str, *runs) -> str:
        stream = io.StringIO(newline="")
        EXPORTERS[format_](table_of_runs([Run.open(run) for run in runs]), stream)
        return stream.getvalue()

    return export


@pytest.fixture
def rows(exported):
    """The rows of the table's CSV by their names."""

    def rows_(*runs) -> dict[str, dict[str, str]]:
        return {row["variant"]: row for row in csv.DictReader(io.StringIO(exported("csv", *runs)))}

    return rows_
