"""The notebooks of docs/notebooks run from top to bottom, in a kernel, and are committed without outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_without_outputs(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 5
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"]] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_its_progress_and_tables_as_html(path, tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHSWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = "".join(output.get("data", {}).get("text/html", "") for output in outputs)
    bars = re.findall(r'<progress max="(\d+)" value="(\d+)">', shown)
    assert bars
    assert [bar for bar in bars if bar[0] != bar[1]] == [], "the last state of a finished run is shown"
    assert '<figure class="ablation">' in shown or path.stem == "reading_a_run"
    # Nothing but progress of words: a line per trial on stderr would fill the page.
    assert not [output["text"] for output in outputs if output["output_type"] == "stream" and "[1/" in output["text"]]
