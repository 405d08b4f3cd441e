"""Small tables and tasks of GLUE on disk."""

from __future__ import annotations

import csv

import pytest

TRAIN = [("a good film", "pos"), ("a bad film", "neg"), ("good, really good", "pos"), ('he said "bad"', "neg")]
TEST = [("good", "pos"), ("bad", "neg"), ("a film", "neg")]


@pytest.fixture
def write_table(tmp_path):
    """Writes a CSV or TSV file below the data directory, as another program would."""

    def write(name, rows, header=("text", "label"), **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding=options.pop("encoding", "utf-8")) as stream:
            kind = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None} if path.suffix == ".tsv" else {}
            writer = csv.writer(stream, **kind)
            writer.writerows([header, *rows] if header else rows)
        return path

    return write


@pytest.fixture
def films(write_table, tmp_path):
    """`text/films`: two small tables of sentences."""
    write_table("films/train.csv", TRAIN)
    write_table("films/test.csv", TEST)
    return tmp_path
