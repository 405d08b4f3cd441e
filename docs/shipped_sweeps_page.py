"""Writes docs/shipped_sweeps.md from the shipped sweeps, their headers, and the tables of their runs.

    python docs/shipped_sweeps_page.py              # writes the page
    python docs/shipped_sweeps_page.py --keep RUN   # first keeps table and trials of a run of a shipped sweep

Of a run are kept, below docs/shipped_sweeps: its table (`table.md`, `table.csv`) and its trials (`trials.csv`), without
columns of single classes and of the machine.
"""

from __future__ import annotations

import argparse
import csv
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from search_space import Sweep, load_studies, load_sweep, variants
from search_space.loading.shipped import header_notes, shipped_sweeps

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "shipped_sweeps.md"
KEPT = ROOT / "docs" / "shipped_sweeps"
_OF_MACHINES = ("host", "device", "finished_at", "cached_from", "attempt", "number", "total_seconds")

_INTRODUCTION = """\
# Shipped sweeps of published ablations

`archsweep run sweeps/FILE.yaml` runs a small study on CPU cores, with built-in or generated data; `--profile smoke`
runs a version of a few seconds; `--profile paper --data-dir DIR` trains on ImageNet-1k (segmentation: ADE20K;
detection: COCO; text: GLUE) with the authors' recipe, as far as a sweep can express it (the header of each file
lists the differences). Without a checkout, `archsweep init --from deepvit/depth` writes a copy. Variants and trials
are those of the small study / of `--profile paper`, or of its studies.

Published numbers are those of `--profile paper`, in the order of the file, which contains their sources. They are shown
with their variants in its tables only, because ImageNet numbers do not apply to digits; a small study may say whether
its rows have the published order. If a table of a paper could not be read, the variant has no published number; none is
given from memory. None of the papers' studies has been repeated in full here; the numbers of parameters agree
(`tests/test_shipped_sweeps.py`).

This page is written by `python docs/shipped_sweeps_page.py` from the files; "mirrors" says which table a file is about,
and what of it is not the paper's.

"""

_RUNS = """
## Runs

Small studies that were run for real, each by the command above without a profile, with `--engine in-process` and one
thread. Verdicts are those of the table: differences to the baseline of equal seeds, corrected for all rows. Minutes are
those of optimisation by the clock, on two cores of an AMD EPYC machine that other processes shared, so up to twice of
what a quiet core takes. On another processor the last digits differ, and with them results that are near a limit.

"""


@dataclass(frozen=True)
class Shipped:
    """A shipped sweep: its name (`deepvit/depth`), and the notes of its header by their word."""

    name: str
    notes: dict[str, str]
    small: tuple[Sweep, ...]
    paper: Sweep | None

    @property
    def kept(self) -> Path:
        """Folder of what is kept of its run."""
        return KEPT / self.name.replace("/", "_")


def all_shipped() -> list[Shipped]:
    """All of them, by name."""
    return [_shipped(name, path) for name, path in sorted(shipped_sweeps().items())]


def _shipped(name: str, path: Path) -> Shipped:
    text = path.read_text(encoding="utf-8")
    small = tuple(file.sweep for file in load_studies(path))
    paper = load_sweep(path, profile="paper").sweep if len(small) == 1 and "\n  paper:" in text else None
    return Shipped(name, header_notes(text), small, paper)


def page() -> str:
    """Text of the page."""
    found = all_shipped()
    of_papers = [
        (f"`{one.name}`", one.notes["Question"], *_counts(one), one.notes["Mirrors"], _published(one))
        for one in found
        if "/" in one.name
    ]
    head = ("file", "question", "variants >", "trials >", "mirrors", "published")
    others = ", ".join(f"`{one.name}`" for one in found if "/" not in one.name)
    runs = [_run(one) for one in found if one.kept.is_dir()]
    head_of_runs = ("file", "seeds >", "verdicts", "trials >", "minutes >", "found")
    between = f"\nOf no paper's table: {others}.\n{_RUNS}"
    return _INTRODUCTION + _table(head, of_papers) + between + _table(head_of_runs, runs)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; columns whose head ends with `>` are aligned to the right."""
    names = [name.removesuffix(" >") for name in head]
    rules = ["---:" if name.endswith(" >") else "---" for name in head]
    lines = [" | ".join(cell.replace("|", r"\|") for cell in cells) for cells in (names, rules, *rows)]
    return "".join(f"| {line} |\n" for line in lines)


def _counts(one: Shipped) -> tuple[str, str]:
    rows = [len(list(variants(sweep))) for sweep in one.small]
    trials = [number * len(sweep.seeds) for number, sweep in zip(rows, one.small, strict=True)]
    if one.paper is None:
        return " + ".join(map(str, rows)), " + ".join(map(str, trials))
    of_paper = len(list(variants(one.paper)))
    return f"{rows[0]} / {of_paper}", f"{trials[0]} / {of_paper * len(one.paper.seeds)}"


def _published(one: Shipped) -> str:
    if one.paper is None or not one.paper.published:
        return "none"
    rows = [row.values for row in one.paper.published]
    of_metric = [values[one.paper.metric] for values in rows if one.paper.metric in values]
    return ", ".join(f"{value:g}" for value in of_metric or [next(iter(values.values())) for values in rows])


def _run(one: Shipped) -> tuple[str, ...]:
    table, trials = _read(one.kept / "table.csv"), _read(one.kept / "trials.csv")
    verdicts = Counter(row["verdict"] for row in table if row["verdict"])
    numbers = sorted({int(row["seeds_completed"]) for row in table})
    trained = [trial for trial in trials if not trial.get("trained_by")]  # the others took weights of one of these
    minutes = sum(float(trial["train_seconds"] or 0) for trial in trained) / 60
    link = f"[`{one.name}`](shipped_sweeps/{one.kept.name}/table.md)"
    shown = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()) or "of a search"
    seeds = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    return link, seeds, shown, str(len(trials)), f"{minutes:.1f}", one.notes.get("Found", "")


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def keep(run: Path) -> Path:
    """Copy table and trials of a run of a shipped sweep; returns their folder."""
    written = re.search(r"^name: +(\S+)", (run / "sweep.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    assert written is not None, f"{run} is no run of a sweep"
    (one,) = [each for each in all_shipped() if each.small[0].name == written[1]]
    one.kept.mkdir(parents=True, exist_ok=True)
    shutil.copy(run / "table.md", one.kept / "table.md")
    for file in ("table.csv", "trials.csv"):
        _write(one.kept / file, _read(run / file))
    return one.kept


def _write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    columns = list(_worth_keeping(rows))
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _worth_keeping(rows: Sequence[dict[str, str]]) -> Iterable[str]:
    for name in rows[0]:
        if "/" not in name and name not in _OF_MACHINES and any(row[name] for row in rows):
            yield name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, nargs="+", default=[], metavar="RUN")
    for run in parser.parse_args().keep:
        print(keep(run).relative_to(ROOT), file=sys.stderr)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
