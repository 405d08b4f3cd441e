"""Paths to files of ours that pages, comments, docstrings and sweeps name exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ["search_space", "modelzoo", "results", "runners", "tests", "benchmarks", "docs", "sweeps"]
NAMED = re.compile(rf"(?<![\w/.-])((?:{'|'.join(FOLDERS)})/[\w/.-]*\.(?:py|md|yaml|json))(?![\w*])")
EXAMPLES = {  # files of the reader's own
    *("sweeps/FILE.yaml", "sweeps/NAME.yaml", "sweeps/quick.yaml"),
    *("modelzoo/attention/talking_heads.py", "tests/modelzoo/attention/test_talking_heads.py"),
}


def test_named_files_exist():
    paths = [
        path for folder in FOLDERS for suffix in ("md", "py", "yaml") for path in (ROOT / folder).rglob(f"*.{suffix}")
    ]
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in [*ROOT.glob("*.md"), *paths]
        for name in NAMED.findall(path.read_text(encoding="utf-8"))
        if path.name != "CHANGELOG.md" and name not in EXAMPLES and not (ROOT / name).exists()
    }
    assert missing == set()
