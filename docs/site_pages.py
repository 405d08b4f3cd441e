"""MkDocs hook: pages of the site that are kept outside docs/ (the README is its home page), the list of
decisions, and all pages as one text file.

A hook of MkDocs (`hooks` in mkdocs.yml). Links of a moved page are written anew; those to files that the site does not
have become plain text.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from site_text import PAGES, decisions, site_text

ROOT = Path(__file__).parent.parent


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the section "Decisions" with the files of docs/decisions, in their order."""
    assert config.nav is not None
    (section,) = [entry for entry in config.nav if "Decisions" in entry]
    section["Decisions"] = decisions()
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=relinked(text, source)))
    return files


def on_startup(command: str, dirty: bool) -> None:
    """Notebooks are executed in their folder, without the trials of earlier builds and of the user's cache."""
    _remove_what_notebooks_wrote()
    os.environ["ARCHSWEEP_CACHE"] = tempfile.mkdtemp(prefix="archsweep-docs-")


def on_shutdown() -> None:
    shutil.rmtree(os.environ["ARCHSWEEP_CACHE"], ignore_errors=True)
    _remove_what_notebooks_wrote()


def _remove_what_notebooks_wrote() -> None:
    shutil.rmtree(ROOT / "docs" / "notebooks" / "runs", ignore_errors=True)
    (ROOT / "docs" / "notebooks" / "read.html").unlink(missing_ok=True)


def on_post_build(config: MkDocsConfig) -> None:
    """Write all pages as one text file beside the site."""
    (Path(config.site_dir) / "archsweep.txt").write_text(site_text(), encoding="utf-8")


def relinked(text: str, source: str) -> str:
    """The text of the repository's file `source` with links that are right at the top of the site."""

    def link(match: re.Match[str]) -> str:
        target, hash_, anchor = match["target"].partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in PAGES:
            return f"{match['text']}({PAGES[path]}{hash_}{anchor})"
        if path.startswith("docs/") and (ROOT / path).is_file():
            return f"{match['text']}({path.removeprefix('docs/')}{hash_}{anchor})"
        return match["text"].strip("[]!")

    return re.sub(r"(?P<text>!?\[[^\]]*\])\((?P<target>(?!https?:|#|mailto:)[^)\s]+)\)", link, text)
