"""Tables as pandas and Hugging Face datasets write them: quotes in TSV files, an index, GLUE in other files."""

from __future__ import annotations

import pytest

from runners.data.text.quoted_tsv import quoted_rows
from runners.data.text.sources import stored_texts
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.text_datasets import GlueSpec, TextTableSpec

# `DataFrame.to_csv(sep="\t")` of these texts: an index, and quotes where a text has a quote, a tab or a line break.
TEXTS = ['He said "no".', "plain", "two\nlines", "a\ttab"]
WRITTEN = '\ttext\tlabel\n0\t"He said ""no""."\t1\n1\tplain\t0\n2\t"two\nlines"\t1\n3\t"a\ttab"\t0\n'
NOTE = "train.tsv: quotes around values are not read, doubled ones inside are one quote"


def user_table(folder, train, test="text\tlabel\nx\t0\ny\t1\n"):
    (folder / "set").mkdir()
    (folder / "set" / "train.tsv").write_text(train, newline="")
    (folder / "set" / "test.tsv").write_text(test, newline="")
    return stored_texts(TextTableSpec(name="text/set"), Resources(data_dir=str(folder)))


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_tsv_files_that_were_written_with_quotes_are_read_without(tmp_path, line_break):
    train, test = user_table(tmp_path, WRITTEN.replace("\n", line_break))
    assert [text for (text,) in train.texts] == [text.replace("\n", line_break) for text in TEXTS]
    assert (train.labels.tolist(), train.lines, train.notes) == ([1, 0, 1, 0], [2, 3, 4, 6], (NOTE,))
    assert test.notes == ()


def test_values_may_all_be_in_quotes(tmp_path):
    """`quoting=csv.QUOTE_NONNUMERIC`, and what R writes."""
    train, _ = user_table(tmp_path, '"text"\t"label"\n"fine"\t1\n"dull"\t0\n')
    assert (train.texts, train.notes) == ([("fine",), ("dull",)], (NOTE,))


@pytest.mark.parametrize(
    "text",
    [
        'text\tlabel\n"yes"\t1\nno\t0\n',  # a writer of quotes would have doubled them
        'text\tlabel\nsay "yes"\t1\n"a ""b"""\t0\n',  # one value with a quote that is not around it
        'text\tlabel\n"no end\t1\nno\t0\n',
        'text\tlabel\n"begins\t1\nends"\t0\n',  # read with quotes, two rows would be one
        "text\tlabel\nno quotes\t1\n",
    ],
)
def test_a_quote_is_a_character_in_all_other_files(text):
    assert quoted_rows(text) is None


def glue(folder, task):
    return stored_texts(GlueSpec(name=f"glue/{task}"), Resources(data_dir=str(folder)))


@pytest.mark.parametrize("folder", ["RTE", "rte"])
def test_tsv_files_of_the_hubs_columns_are_read(tmp_path, folder):
    """`Dataset.to_csv(sep="\\t")`: labels are the hub's numbers, and the test of `dev` is called validation."""
    (tmp_path / folder).mkdir()
    for split in ("train", "validation"):
        rows = 'sentence1\tsentence2\tlabel\tidx\n"A ""b""."\tC.\t1\t0\nD.\tE.\t0\t1\n'
        (tmp_path / folder / f"{split}.tsv").write_text(rows)
    train, dev = glue(tmp_path, "RTE")
    assert train.texts == [('A "b".', "C."), ("D.", "E.")]
    assert (train.labels.tolist(), dev.labels.tolist()) == ([1, 0], [1, 0])
    assert dev.class_names == ("entailment", "not_entailment")


@pytest.mark.parametrize("index", [False, True])
def test_a_header_of_cola_is_no_row(tmp_path, index):
    """Official files of CoLA have none; with the index of pandas, a file has as many columns as they have."""
    (tmp_path / "CoLA").mkdir()
    for split in ("train", "dev"):
        rows = [["", "sentence", "label", "idx"], ["0", "He ran.", "1", "0"], ["1", "Him ran.", "0", "1"]]
        text = "\n".join("\t".join(row[not index :]) for row in rows)
        (tmp_path / "CoLA" / f"{split}.tsv").write_text(text)
    train, _ = glue(tmp_path, "CoLA")
    assert (train.texts, train.labels.tolist(), train.lines) == ([("He ran.",), ("Him ran.",)], [1, 0], [2, 3])
    assert train.notes == ()


def test_labels_of_the_hidden_test_set_are_refused(tmp_path):
    (tmp_path / "RTE").mkdir()
    for split, label in (("train", 1), ("validation", -1)):
        rows = f"sentence1\tsentence2\tlabel\na\tb\t{label}\nc\td\t0\n"
        (tmp_path / "RTE" / f"{split}.tsv").write_text(rows)
    with pytest.raises(SpecError, match="that are no classes of the training split: '-1'"):
        glue(tmp_path, "RTE")


@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv"])
def test_files_of_datasets_and_pandas_are_read(tmp_path, kind):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    content = {"sentence1": ["a", "c"], "sentence2": ["b", "d"], "label": [0, 1], "__index_level_0__": [7, 3]}
    table = pyarrow.table(content)
    for split in ("train", "validation"):
        folder = tmp_path / "WNLI" / split if kind == "arrow" else tmp_path / "WNLI"
        folder.mkdir(parents=True, exist_ok=True)
        if kind == "parquet":
            parquet.write_table(table, folder / f"{split}.parquet")
        elif kind == "csv":
            rows = zip(content["sentence1"], content["sentence2"], content["label"], strict=True)
            lines = ["sentence1,sentence2,label", *(f'"{a}",{b},{label}' for a, b, label in rows)]
            (folder / f"{split}.csv").write_text("\n".join(lines))
        else:
            for part in range(2):  # `save_to_disk`: streams of Arrow, in parts
                with pyarrow.ipc.new_stream(str(folder / f"data-0000{part}-of-00002.arrow"), table.schema) as stream:
                    stream.write_table(table.slice(part, 1))
    train, _ = glue(tmp_path, "WNLI")
    assert (train.texts, train.labels.tolist()) == ([("a", "b"), ("c", "d")], [0, 1])


def test_a_table_in_parts_is_named(tmp_path):
    (tmp_path / "set" / "train").mkdir(parents=True)
    (tmp_path / "set" / "train" / "data-00000-of-00001.arrow").touch()
    with pytest.raises(SpecError) as caught:
        stored_texts(TextTableSpec(name="text/set"), Resources(data_dir=str(tmp_path)))
    [problem] = caught.value.problems
    assert (problem.message, problem.hint) == (
        "dataset 'text/set': there is none of train.csv, train.tsv, train.parquet, only "
        f"train/data-00000-of-00001.arrow in {tmp_path / 'set'}",
        "write it as one file: Dataset.to_parquet('train.parquet')",
    )
