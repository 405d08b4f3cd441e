"""The nine tasks of GLUE on disk: official TSV files, or files with the hub's columns.

    <data_dir>/CoLA/train.tsv, dev.tsv                     the official layout; MNLI has dev_matched and dev_mismatched
    <data_dir>/CoLA/train-*.parquet, validation-*.parquet  the hub's; the folder may have the hub's name (cola)
    <data_dir>/CoLA/train.parquet, validation.parquet      what Hugging Face datasets and pandas write: also .tsv, .csv
    <data_dir>/CoLA/train/data-*.arrow, validation/...     and `save_to_disk`

What a file is, its columns say; labels are names of classes or the hub's numbers.
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


def _read(dataset: GlueSpec, root: Path, tsv: str, hub: str) -> Texts:
    task = GLUE[dataset.task]
    folders = [root / dataset.task, root / task.hub]
    official = folders[0] / f"{tsv}.tsv"
    written = [f"{hub}{end}" for end in ("-*.parquet", ".parquet", ".tsv", ".csv", "/data-*.arrow")]
    patterns = [(folders[0], official.name), *((folder, name) for folder in folders for name in written)]
    for folder, name in patterns:
        if found := sorted(folder.glob(name)):
            header = (*task.hub_inputs, "label")
            return _texts(
                [read_table(path, columns=task.header, header=header, leave_out_short=True) for path in found], task
            )
    message = f"dataset {dataset.name!r}: there is neither {official} nor {folders[0] / f'{hub}-*.parquet'}"
    hint = (
        "unpack the official files of GLUE, the parquet files of the hub, or what Hugging Face datasets write "
        f"({', '.join(written[1:])}) below resources.data_dir"
    )
    raise SpecError(Problem(message, path="task.dataset", hint=hint))


def _texts(tables: list[Table], task: GlueTask) -> Texts:
    columns, path = tables[0].columns, tables[0].path
    table = Table(
        path, columns, [row for each in tables for row in each.rows], [n for each in tables for n in each.lines]
    )
    is_official = path.suffix == ".tsv" and not {*task.hub_inputs, "label"} <= set(columns)
    inputs, target = (task.inputs, task.target) if is_official else (task.hub_inputs, "label")
    numbers = tuple(map(str, range(len(task.classes))))
    is_numbered = not is_official and bool(set(numbers) & {str(value) for value in table.column(target)})
    return Texts(
        texts=texts_of(table, inputs, may_be_empty=True),
        labels=classes_of(table, target, numbers if is_numbered else task.classes)
        if task.classes
        else numbers_of(table, target),
        files=tuple((each.path.name, each.path) for each in tables),
        lines=table.lines,
        notes=tuple(note for each in tables for note in each.notes),
        class_names=task.classes,
    )
