"""The documentation as one text file, for search by text and for assistants: all pages in the order of the site.

`make docs` writes it to site/archsweep.txt; `python docs/site_text.py` prints it and needs PyYAML only. Pages of the
API are left out: they are made from docstrings (`help(archsweep.run)`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
PAGES = {  # pages that are kept outside docs/
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "runners/cli/guide.md": "guide.md",
}


def decisions() -> list[str]:
    """The pages of docs/decisions, in their order."""
    return sorted(f"decisions/{path.name}" for path in (ROOT / "docs" / "decisions").glob("*.md"))


def pages() -> list[str]:
    """The pages of the site in the order of its navigation, without those of the API."""
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    return [page for page in [*_pages(navigation), *decisions()] if not page.startswith("api/")]


def site_text() -> str:
    """All pages, each below a line that names it."""
    return "\n".join(f"===== {page} =====\n\n{_text(page).strip()}\n" for page in pages())


def _pages(navigation: Any) -> Iterator[str]:
    if isinstance(navigation, str):
        yield navigation
    for entry in navigation if isinstance(navigation, list) else []:
        for section in entry.values():
            yield from _pages(section)


def _text(page: str) -> str:
    sources = {name: source for source, name in PAGES.items()}
    text = (ROOT / sources.get(page, f"docs/{page}")).read_text(encoding="utf-8")
    return "\n\n".join(_cells(text)) if page.endswith(".ipynb") else text


def _cells(notebook: str) -> Iterator[str]:
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        yield f"```python\n{source}\n```" if cell["cell_type"] == "code" else source


if __name__ == "__main__":
    print(site_text(), end="")
