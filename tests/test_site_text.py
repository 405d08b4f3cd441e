"""The documentation as one text file has every page of the site, in its order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_all_pages_are_in_it_in_the_order_of_the_navigation():
    done = subprocess.run([sys.executable, "docs/site_text.py"], capture_output=True, text=True, cwd=ROOT, check=True)
    named = re.findall(r"^===== (.+) =====$", done.stdout, re.M)
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2].partition("\nextra_css")[0]
    written = [page for page in re.findall(r": (\S+\.(?:md|ipynb))$", nav, re.M) if not page.startswith("api/")]
    decisions = sorted(f"decisions/{path.name}" for path in (ROOT / "docs/decisions").glob("*.md"))
    assert named == [*written, *decisions]
    for page in ("docs/sweep_format.md", "README.md", "runners/cli/guide.md"):
        assert (ROOT / page).read_text(encoding="utf-8").strip() in done.stdout
    assert "archsweep.table_of_runs(runs)" in done.stdout  # a cell of a notebook
