"""Plain technical English in sources and docs: no personification, no riddles, one word per thing (docs/glossary.md).

Comments, docstrings and strings are read, and the words that make up identifiers. Names of other libraries (Optuna's
`tell`) are theirs.
"""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BANNED = {  # idiom -> what to write instead
    "told": "given, passed, reported, recorded",
    "tells": "reports, states, returns",
    "lies": "is, is in",
    "stands": "is",
    "nobody": "no user, no process; or name it",
    "somebody": "another process, a user; or name it",
    "anybody": "any user, any process",
    "whoever": "name who it is",
    "anew": "again, from scratch",
    "in words": "as a message, readable",
    "obey": "execute, interpret",
    "obeys": "executes, interprets",
    "obeyed": "executed, interpreted",
    "heeds": "respects",
    "heeded": "respected",
    "hopeless": "keeps failing",
    "in vain": "without effect",
    "for ever": "permanently",
    "of another hand": "from an untrusted source",
    "knows nothing": "does not depend on",
    "speaks of": "refers to",
    "looks after": "manages, watches",
    "whereabouts": "node, location",
}
PATTERN = re.compile(r"(?<![\w-])(" + "|".join(map(re.escape, BANNED)) + r")(?![\w-])", re.IGNORECASE)


def text_of(path: Path) -> list[tuple[int, str]]:
    """Line number and text of what people read in a file: all of a page; of a module comments, strings and names."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return list(enumerate(content.splitlines(), start=1))
    found = []
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)):
            found += [(token.start[0] + index, line) for index, line in enumerate(token.string.splitlines())]
        elif token.type == tokenize.NAME:
            found.append((token.start[0], token.string.strip("_").replace("_", " ")))
    return found


def pages() -> list[Path]:
    return sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")})


@pytest.mark.parametrize(
    "folder", ["archsweep", "search_space", "modelzoo", "results", "runners", "benchmarks", "tests"]
)
def test_sources_are_in_plain_english(folder):
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[1]!r}: write {BANNED[match[1].lower()]}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != Path(__file__)
        for line, text in text_of(path)
        for match in PATTERN.finditer(text)
    ]
    assert found == []


def test_pages_are_in_plain_english():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[1]!r}: write {BANNED[match[1].lower()]}"
        for path in pages()
        for line, text in text_of(path)
        for match in PATTERN.finditer(text)
    ]
    assert found == []


def test_sweeps_are_in_plain_english():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[1]!r}"
        for path in sorted([*(ROOT / "sweeps").rglob("*.yaml"), ROOT / "search_space" / "starter.yaml"])
        for line, text in text_of(path)
        for match in PATTERN.finditer(text)
    ]
    assert found == []
