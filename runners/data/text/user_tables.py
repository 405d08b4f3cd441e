"""Users' own tables of text, `text/NAME`: one file a split below `<data_dir>/NAME`.

<data_dir>/NAME/train.csv, test.csv      or .tsv, or .parquet; the first line names the columns
"""

from __future__ import annotations

from pathlib import Path

from runners.data.text.columns import class_names, classes_of, numbers_of, texts_of
from runners.data.text.splits import Texts
from runners.data.text.tables import SUFFIXES, Table, read_table
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.text_datasets import TextTableSpec

__all__ = ["table_splits"]


def table_splits(dataset: TextTableSpec, data_dir: str | None) -> tuple[Texts, Texts]:
    """The training and the test split.

    Raises:
        SpecError: a file or a column is missing, or texts or labels are not usable.
    """
    if data_dir is None:
        message = f"dataset {dataset.name!r}: no data directory is given"
        raise SpecError(Problem(message, path="task.dataset", hint="set resources.data_dir or --data-dir DIR"))
    folder = Path(data_dir) / dataset.name.partition("/")[2]
    train, test = (read_table(_file(dataset, folder, split)) for split in (dataset.train_split, dataset.test_split))
    if dataset.target == "number":
        return _texts(dataset, train, ()), _texts(dataset, test, ())
    names = class_names(train, dataset.target_key, option="target_key")
    return _texts(dataset, train, names), _texts(dataset, test, names)


def _texts(dataset: TextTableSpec, table: Table, names: tuple[str, ...]) -> Texts:
    key = dataset.target_key
    texts = texts_of(table, dataset.input_key, option="input_key")
    table.column(key, key="target_key")
    labels = classes_of(table, key, names) if names else numbers_of(table, key)
    files = ((table.path.name, table.path),)
    return Texts(texts, labels, files, table.lines, notes=table.notes, class_names=names)


def _file(dataset: TextTableSpec, folder: Path, split: str) -> Path:
    found = [path for suffix in SUFFIXES if (path := folder / f"{split}{suffix}").is_file()]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{split}{suffix}" for suffix in SUFFIXES)
    text = f"there are {' and '.join(path.name for path in found)}" if found else f"there is none of {names}"
    hint = "keep one of them" if found else "put the table there, or name another split, or change resources.data_dir"
    if not found and (in_parts := sorted(folder.glob(f"{split}-*.parquet")) or sorted(folder.glob(f"{split}/*.arrow"))):
        text += f", only {in_parts[0].relative_to(folder)}"
        hint = f"write it as one file: Dataset.to_parquet('{split}.parquet')"
    raise SpecError(Problem(f"dataset {dataset.name!r}: {text} in {folder}", path="task.dataset", hint=hint))
