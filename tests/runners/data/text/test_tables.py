"""Users' tables of text: what is read, in which order classes are numbered, and the message of every error."""

from __future__ import annotations

import numpy as np
import pytest

from runners.data.text.sources import stored_texts
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.text_datasets import TextTableSpec

PAIRS = [("one", "two", "1.5"), ("three", "four", "-2")]


def read(root, **options):
    dataset = TextTableSpec.model_validate({"name": "text/films", **options})
    return stored_texts(dataset, Resources(data_dir=str(root)))


def refused(root, **options):
    with pytest.raises(SpecError) as caught:
        read(root, **options)
    return str(caught.value).replace(str(root), "DIR")


def test_texts_labels_and_lines_are_those_of_the_file(films):
    train, test = read(films)
    assert train.texts[2:] == [("good, really good",), ('he said "bad"',)]
    assert train.class_names == ("neg", "pos")
    assert train.labels.tolist() == [1, 0, 1, 0]
    assert test.labels.tolist() == [1, 0, 0]
    assert train.lines == [2, 3, 4, 5]


def test_a_quoted_text_may_have_line_breaks_and_lines_are_still_those_of_the_file(write_table, tmp_path):
    rows = [("one\ntwo", "a"), ("three", "b")]
    write_table("films/train.csv", rows)
    write_table("films/test.csv", rows[1:])
    train, _ = read(tmp_path)
    assert train.texts == [("one\ntwo",), ("three",)]
    assert train.lines == [2, 4]


def test_quotes_mean_nothing_in_tsv_files(write_table, tmp_path):
    for split in ("train", "test"):
        write_table(f"films/{split}.tsv", [('say "a', "0"), ("b", "1")])
    train, _ = read(tmp_path)
    assert train.texts == [('say "a',), ("b",)]


def test_pairs_and_numbers_are_read_by_the_names_of_columns(write_table, tmp_path):
    for split in ("train", "test"):
        write_table(f"films/{split}.csv", PAIRS, header=("s1", "s2", "score"))
    train, _ = read(tmp_path, input_key=["s2", "s1"], target_key="score", target="number")
    assert train.texts == [("two", "one"), ("four", "three")]
    assert (train.labels.dtype, train.labels.tolist()) == (np.float64, [1.5, -2.0])
    assert train.class_names == ()


def test_numbers_as_names_of_classes_keep_their_order(write_table, tmp_path):
    rows = [(f"text {number}", str(number)) for number in (10, 9, 2, 0)]
    write_table("films/train.csv", rows)
    write_table("films/test.csv", rows[:2])
    train, test = read(tmp_path)
    assert train.class_names == ("0", "2", "9", "10")
    assert test.labels.tolist() == [3, 2]


def test_parquet_files_are_tables_too(films):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    table = pyarrow.table({"text": ["so", "so so"], "label": ["neg", "pos"]})
    (films / "films" / "test.csv").unlink()
    parquet.write_table(table, films / "films" / "test.parquet")
    assert read(films)[1].texts == [("so",), ("so so",)]


@pytest.mark.parametrize(
    ("name", "rows", "options", "message"),
    [
        ("test.csv", [("good", "great")], {}, (
            "task.dataset: DIR/films/test.csv has labels in the column 'label' that are no classes of the training "
            "split: 'great' (1 rows)\n  its classes: 'neg', 'pos'"
        )),
        ("test.csv", [("", "pos")], {}, (
            "task.dataset: DIR/films/test.csv has an empty text in line 2, column 'text'\n  remove the row"
        )),
        ("train.csv", [("a", "pos"), ("b", "")], {}, (
            "task.dataset: DIR/films/train.csv has no label in line 3, column 'label'\n  remove the row, or label it"
        )),
        ("train.csv", [("a", "pos"), ("b", "pos")], {}, (
            "task.dataset: DIR/films/train.csv has one class only, 'pos', in the column 'label': every answer would be "
            "right\n  target_key names another column where there is one"
        )),
        ("test.csv", [("good", "pos", "more")], {}, (
            "task.dataset: DIR/films/test.csv has 3 values in line 2, and 2 columns\n"
            '  put texts with commas, quotes or line breaks into "quotes", and double the quotes inside'
        )),
        ("test.csv", [("good", "pos")], {"input_key": "txt"}, (
            "task.dataset: DIR/films/train.csv has no column 'txt'; input_key names it\n"
            "  known: label, text.  Did you mean 'text'?"
        )),
        ("test.csv", [("good", "pos")], {"target_key": "class"}, (
            "task.dataset: DIR/films/train.csv has no column 'class'; target_key names it\n  known: label, text."
        )),
        ("test.csv", [], {}, "task.dataset: DIR/films/test.csv has no rows"),
        ("test.csv", [("good", "pos")], {"target": "number"}, (
            "task.dataset: DIR/films/train.csv has 'pos' in line 2, column 'label', where a number is expected\n"
            "  write target: class where labels are names"
        )),
    ],
)  # fmt: skip
def test_errors_name_file_line_and_remedy(films, write_table, name, rows, options, message):
    write_table(f"films/{name}", rows)
    assert refused(films, **options) == message


def test_missing_and_ambiguous_files_are_named(films, write_table):
    write_table("films/train.tsv", [("a", "b")])
    assert refused(films) == (
        "task.dataset: dataset 'text/films': there are train.csv and train.tsv in DIR/films\n  keep one of them"
    )
    assert refused(films, train_split="all") == (
        "task.dataset: dataset 'text/films': there is none of all.csv, all.tsv, all.parquet in DIR/films\n"
        "  put the table there, or name another split, or change resources.data_dir"
    )


def test_other_encodings_and_broken_quotes_are_refused(films, write_table):
    write_table("films/test.csv", [("caf\xe9", "pos")], encoding="latin-1")
    assert refused(films).startswith("task.dataset: DIR/films/test.csv is not text in UTF-8: ")
    (films / "films" / "test.csv").write_text('text,label\n"a" b,pos\n')
    assert refused(films).startswith("task.dataset: DIR/films/test.csv cannot be read: ")
    (films / "films" / "test.csv").write_text("")
    assert refused(films).startswith("task.dataset: DIR/films/test.csv is empty")
