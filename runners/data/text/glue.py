"""The nine tasks of GLUE on disk: official TSV files, or parquet files as the hub stores them.

    <data_dir>/CoLA/train.tsv, dev.tsv                     the official layout; MNLI has dev_matched and dev_mismatched
    <data_dir>/CoLA/train-*.parquet, validation-*.parquet  the hub's; the folder may have the hub's name (cola)

Labels of the test sets are not public, so that `dev` is measured, as papers report it. Rows with too few values, of
which the official QQP has some, are left out and counted, as everyone leaves them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runners.data.text.columns import classes_of, numbers_of, texts_of
from runners.data.text.splits import Texts
from runners.data.text.tables import Table, read_table
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.text_datasets import GlueSpec

__all__ = ["GLUE", "GlueTask", "glue_splits"]


@dataclass(frozen=True)
class GlueTask:
    """A task's columns and classes.

    Attributes:
        inputs, target: columns of the official TSV files.
        hub: its folder on the hub.
        hub_inputs: columns of the parquet files, whose labels are `label`.
        classes: names of the classes in the TSV files, in the order of the hub's numbers; empty: labels are numbers.
        header: columns of TSV files without a header.
    """

    inputs: tuple[str, ...]
    target: str
    hub: str
    hub_inputs: tuple[str, ...]
    classes: tuple[str, ...] = ("0", "1")
    header: tuple[str, ...] | None = None


_PAIR = ("sentence1", "sentence2")
_ENTAILED = ("entailment", "not_entailment")
GLUE: dict[str, GlueTask] = {
    "CoLA": GlueTask(
        ("sentence",), "label", "cola", ("sentence",), header=("source", "label", "original_label", "sentence")
    ),
    "SST-2": GlueTask(("sentence",), "label", "sst2", ("sentence",)),
    "MRPC": GlueTask(("#1 String", "#2 String"), "Quality", "mrpc", _PAIR),
    "QQP": GlueTask(("question1", "question2"), "is_duplicate", "qqp", ("question1", "question2")),
    "STS-B": GlueTask(_PAIR, "score", "stsb", _PAIR, classes=()),
    "MNLI": GlueTask(
        _PAIR, "gold_label", "mnli", ("premise", "hypothesis"), classes=("entailment", "neutral", "contradiction")
    ),
    "QNLI": GlueTask(("question", "sentence"), "label", "qnli", ("question", "sentence"), classes=_ENTAILED),
    "RTE": GlueTask(_PAIR, "label", "rte", _PAIR, classes=_ENTAILED),
    "WNLI": GlueTask(_PAIR, "label", "wnli", _PAIR),
}
"""Tasks by their official names."""


def glue_splits(dataset: GlueSpec, data_dir: str | None) -> tuple[Texts, Texts]:
    """The training split and the one that is measured.

    Raises:
        SpecError: files are missing or are not those of the task.
    """
    task, kind = dataset.task, "mismatched" if dataset.mismatched else "matched"
    if dataset.mismatched and task != "MNLI":
        message = f"only MNLI has a mismatched set, so mismatched=True would have no effect on {task}"
        raise SpecError(Problem(message, path="task.dataset.mismatched", hint="leave mismatched out"))
    if data_dir is None:
        message = f"dataset {dataset.name!r}: no data directory is given"
        raise SpecError(Problem(message, path="task.dataset", hint="set resources.data_dir or --data-dir DIR"))
    of_mnli = f"_{kind}" if task == "MNLI" else ""
    train = _read(dataset, Path(data_dir), "train", "train")
    return train, _read(dataset, Path(data_dir), f"dev{of_mnli}", f"validation{of_mnli}")


def _read(dataset: GlueSpec, root: Path, tsv: str, parquet: str) -> Texts:
    task = GLUE[dataset.task]
    folders = [root / dataset.task, root / task.hub]
    official = folders[0] / f"{tsv}.tsv"
    if official.is_file():
        table = read_table(official, columns=task.header, leave_out_short=True)
        return _texts([table], task, task.inputs, task.target, is_hub=False)
    for folder in folders:
        if shards := sorted(folder.glob(f"{parquet}-*.parquet")):
            return _texts([read_table(shard) for shard in shards], task, task.hub_inputs, "label", is_hub=True)
    message = f"dataset {dataset.name!r}: there is neither {official} nor {folders[0] / f'{parquet}-*.parquet'}"
    hint = "unpack the official files of GLUE, or the parquet files of the hub, below resources.data_dir"
    raise SpecError(Problem(message, path="task.dataset", hint=hint))


def _texts(tables: list[Table], task: GlueTask, inputs: tuple[str, ...], target: str, *, is_hub: bool) -> Texts:
    columns, path = tables[0].columns, tables[0].path
    table = Table(
        path, columns, [row for each in tables for row in each.rows], [n for each in tables for n in each.lines]
    )
    names = tuple(map(str, range(len(task.classes)))) if is_hub else task.classes
    short = sum(each.short for each in tables)
    return Texts(
        texts=texts_of(table, inputs, may_be_empty=True),
        labels=classes_of(table, target, names) if task.classes else numbers_of(table, target),
        files=tuple((each.path.name, each.path) for each in tables),
        lines=table.lines,
        notes=(f"{path.name}: {short} rows with too few values are left out",) if short else (),
        class_names=task.classes,
    )
