"""The nine tasks of GLUE: small files in the official layout and in the hub's, with the columns that these have."""

from __future__ import annotations

import pytest

from runners.data.text.sources import stored_texts
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.text_datasets import GLUE_METRICS, GlueSpec

# Header (None: there is none) and two rows of `train.tsv`, as in the official files; texts and labels in them.
OFFICIAL = {
    "CoLA": (None, ["gj04\t1\t\tHe ran.", "gj04\t0\t*\tHim ran."], [("He ran.",), ("Him ran.",)], [1, 0]),
    "SST-2": ("sentence\tlabel", ["fun \t1", "dull \t0"], [("fun ",), ("dull ",)], [1, 0]),
    "MRPC": (
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        ['1\t7\t8\tSay "a\tb', "0\t9\t10\tc\td"],
        [('Say "a', "b"), ("c", "d")],
        [1, 0],
    ),
    "QQP": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        ["0\t1\t2\ta?\tb?\t0", "cut off here", "1\t3\t4\t\td?\t1"],
        [("a?", "b?"), ("", "d?")],
        [0, 1],
    ),
    "STS-B": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        ["0\tx\ty\tz\t1\tn\tn\ta\tb\t5.000", "1\tx\ty\tz\t2\tn\tn\tc\td\t3.25"],
        [("a", "b"), ("c", "d")],
        [5.0, 3.25],
    ),
    "MNLI": (
        "index\tsentence1\tsentence2\tlabel1\tgold_label",
        ["0\ta\tb\tx\tneutral", "1\tc\td\tx\tcontradiction"],
        [("a", "b"), ("c", "d")],
        [1, 2],
    ),
    "QNLI": (
        "index\tquestion\tsentence\tlabel",
        ["0\ta?\tb\tentailment", "1\tc?\td\tnot_entailment"],
        [("a?", "b"), ("c?", "d")],
        [0, 1],
    ),
    "RTE": (
        "index\tsentence1\tsentence2\tlabel",
        ["0\ta\tb\tnot_entailment", "1\tc\td\tentailment"],
        [("a", "b"), ("c", "d")],
        [1, 0],
    ),
    "WNLI": ("index\tsentence1\tsentence2\tlabel", ["0\ta\tb\t1", "1\tc\td\t0"], [("a", "b"), ("c", "d")], [1, 0]),
}
HUB = {  # folder and columns of the texts in the parquet files of nyu-mll/glue
    "CoLA": ("cola", ["sentence"]),
    "SST-2": ("sst2", ["sentence"]),
    "MRPC": ("mrpc", ["sentence1", "sentence2"]),
    "QQP": ("qqp", ["question1", "question2"]),
    "STS-B": ("stsb", ["sentence1", "sentence2"]),
    "MNLI": ("mnli", ["premise", "hypothesis"]),
    "QNLI": ("qnli", ["question", "sentence"]),
    "RTE": ("rte", ["sentence1", "sentence2"]),
    "WNLI": ("wnli", ["sentence1", "sentence2"]),
}


def read(root, task, **options):
    return stored_texts(GlueSpec(name=f"glue/{task}", **options), Resources(data_dir=str(root)))


def write(root, task, name, rows=None):
    header, written, *_ = OFFICIAL[task]
    lines = ([] if header is None else [header]) + (written if rows is None else rows)
    path = root / task / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def test_every_task_is_here():
    assert set(OFFICIAL) == set(HUB) == set(GLUE_METRICS)


@pytest.mark.parametrize("task", OFFICIAL)
def test_official_files_are_read(task, tmp_path):
    dev = "dev_matched.tsv" if task == "MNLI" else "dev.tsv"
    write(tmp_path, task, "train.tsv")
    write(tmp_path, task, dev, OFFICIAL[task][1][-1:])
    train, test = read(tmp_path, task)
    assert train.texts == OFFICIAL[task][2]
    assert train.labels.tolist() == OFFICIAL[task][3]
    assert test.texts == train.texts[-1:]
    assert [name for name, _ in test.files] == [dev]
    assert train.notes == (("train.tsv: 1 rows with too few values are left out",) if task == "QQP" else ())


@pytest.mark.parametrize("task", HUB)
def test_parquet_files_of_the_hub_are_read(task, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    folder, keys = HUB[task]
    (tmp_path / folder).mkdir()
    labels = [0.5, 4.0] if task == "STS-B" else [1, 0]
    validation = "validation_matched" if task == "MNLI" else "validation"
    for split in ("train", validation):
        for shard in range(2):
            columns = {key: [f"{key} {shard}"] for key in keys}
            table = pyarrow.table({**columns, "label": [labels[shard]], "idx": [shard]})
            parquet.write_table(table, tmp_path / folder / f"{split}-0000{shard}-of-00002.parquet")
    train, test = read(tmp_path, task)
    assert train.texts == test.texts == [tuple(f"{key} {shard}" for key in keys) for shard in range(2)]
    assert train.labels.tolist() == labels


def test_the_mismatched_set_of_mnli_is_another_file(tmp_path):
    for name in ("train.tsv", "dev_matched.tsv", "dev_mismatched.tsv"):
        write(tmp_path, "MNLI", name, OFFICIAL["MNLI"][1][: 2 - ("mis" in name)])
    assert len(read(tmp_path, "MNLI")[1]) == 2
    assert len(read(tmp_path, "MNLI", mismatched=True)[1]) == 1
    with pytest.raises(SpecError, match="only MNLI has a mismatched set"):
        read(tmp_path, "RTE", mismatched=True)


def test_missing_files_are_named_in_both_layouts(tmp_path):
    with pytest.raises(SpecError) as caught:
        read(tmp_path, "CoLA")
    assert str(caught.value).replace(str(tmp_path), "DIR") == (
        "task.dataset: dataset 'glue/CoLA': there is neither DIR/CoLA/train.tsv nor DIR/CoLA/train-*.parquet\n"
        "  unpack the official files of GLUE, the parquet files of the hub, or what Hugging Face datasets write\n"
        "    (train.parquet, train.tsv, train.csv, train/data-*.arrow) below resources.data_dir"
    )
