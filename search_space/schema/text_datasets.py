"""Specs of the datasets of text: drawn sentences, tables of users' own, and the nine tasks of GLUE.

What cuts texts into tokens is an option of the dataset: it decides what a model reads, not what it is measured on.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from search_space.parsing.type_guards import is_dict
from search_space.plugins.open_union import named
from search_space.schema.datasets import DatasetSpec, below

__all__ = ["GLUE_METRICS", "TEXT_SPECS", "GlueSpec", "RecallSpec", "TextDatasetSpec", "TextTableSpec", "Texts"]

CLASSES = ("accuracy", "mcc", "loss")
NUMBERS = ("pearson", "spearman", "mse")

GLUE_METRICS: dict[str, tuple[str, ...]] = {
    "CoLA": ("mcc", "accuracy", "loss"),
    "SST-2": ("accuracy", "loss"),
    "MRPC": ("accuracy", "f1", "loss"),
    "QQP": ("accuracy", "f1", "loss"),
    "STS-B": NUMBERS,
    "MNLI": ("accuracy", "loss"),
    "QNLI": ("accuracy", "loss"),
    "RTE": ("accuracy", "loss"),
    "WNLI": ("accuracy", "loss"),
}
"""Tasks of GLUE by the names of their official folders -> metrics, the one that ranks first."""


class TextDatasetSpec(DatasetSpec):
    """Base of the datasets of text.

    Class attributes:
        metrics: those of the dataset; the first one ranks variants unless the sweep names another.
    """

    max_length: int = 128

    @property
    def metrics(self) -> tuple[str, ...]:
        return CLASSES

    @property
    def has_numbers(self) -> bool:
        """Whether a label is a number to predict (regression) instead of a class."""
        return "mse" in self.metrics


class RecallSpec(TextDatasetSpec):
    """Drawn sentences: three to six pairs of a key and a value, and the question which value a key had; 4 classes."""

    name: Literal["builtin/recall"] = "builtin/recall"  # pyright: ignore[reportIncompatibleVariableOverride]
    num_train: int = Field(default=8000, ge=1, le=10_000_000)
    num_test: int = Field(default=1000, ge=1, le=10_000_000)
    max_length: int = Field(default=40, ge=28, le=512, description="tokens of a padded sentence; the longest has 28")
    data_seed: int = Field(default=0, ge=0)

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("accuracy", "loss")

    @property
    def num_built_in(self) -> int:
        return self.num_train

    def test_set(self) -> dict[str, Any]:
        return self.model_dump(exclude={"num_train", "max_length"})  # padding changes no sentence


class _TokenizedSpec(TextDatasetSpec):
    """Datasets read from files, whose texts are cut into tokens."""

    max_length: int = Field(default=128, ge=4, le=4096, description="tokens of a text; longer ones are cut")
    vocabulary: int = Field(
        default=4000,
        ge=32,
        le=1_000_000,
        description="tokens of the WordPiece vocabulary that is trained on the training split",
    )
    lower: bool = Field(default=True, description="texts are lower-cased, and accents removed")
    tokenizer: str | None = Field(
        default=None,
        min_length=1,
        description="a vocab.txt below `data_dir`, as BERT's, instead of a vocabulary that is trained",
    )


_TABLES = below("text", "must be builtin/recall, glue/TASK for a task of GLUE, or text/NAME for a folder of tables")


class TextTableSpec(_TokenizedSpec):
    """Tables of texts below `<data_dir>/NAME`: one file for each split, with a header."""

    kind: ClassVar[str] = "text"

    name: Annotated[str, _TABLES] = Field(description="text/NAME")
    train_split: str = Field(default="train", min_length=1)
    test_split: str = Field(default="test", min_length=1)
    input_key: Annotated[tuple[str, ...], BeforeValidator(lambda key: (key,) if isinstance(key, str) else key)] = Field(
        default=("text",), min_length=1, max_length=2, description="column of the texts, or two for pairs of texts"
    )
    target_key: str = Field(default="label", min_length=1, description="column of the labels")
    target: Literal["class", "number"] = Field(
        default="class", description="`number`: a label is a number to predict (regression)"
    )

    @property
    def metrics(self) -> tuple[str, ...]:
        return NUMBERS if self.target == "number" else CLASSES

    def test_set(self) -> dict[str, Any]:
        return self.model_dump(include={"name", "test_split", "input_key", "target_key", "target"})


def _is_glue(name: str) -> str:
    if name.removeprefix("glue/") not in GLUE_METRICS:
        raise ValueError(f"must be one of {', '.join(f'glue/{task}' for task in GLUE_METRICS)}")
    return name


class GlueSpec(_TokenizedSpec):
    """A task of GLUE below `<data_dir>/TASK`: official TSV files, or parquet files of the hub. Measured on `dev`."""

    kind: ClassVar[str] = "glue"

    name: Annotated[str, AfterValidator(_is_glue)] = Field(description="glue/TASK")
    mismatched: bool = Field(default=False, description="MNLI is measured on its mismatched set of other genres")

    @property
    def task(self) -> str:
        """Its official name, as `CoLA`."""
        return self.name.removeprefix("glue/")

    @property
    def metrics(self) -> tuple[str, ...]:
        return GLUE_METRICS[self.task]

    def test_set(self) -> dict[str, Any]:
        return {"name": self.name} | ({"mismatched": True} if self.mismatched else {})


TEXT_SPECS: dict[str, type[DatasetSpec]] = {"builtin/recall": RecallSpec, "glue": GlueSpec, "text": TextTableSpec}
"""Name of a dataset of text, or of a kind of them, -> spec."""


def _tag(value: Any) -> str:
    name = value.get("name") if is_dict(value) else getattr(value, "name", None)
    if name == "builtin/recall":
        return name
    return "glue" if isinstance(name, str) and name.startswith("glue/") else "text"


_Source = Annotated[
    Annotated[RecallSpec, Tag("builtin/recall")]
    | Annotated[GlueSpec, Tag("glue")]
    | Annotated[TextTableSpec, Tag("text")],
    Discriminator(_tag),
]
Texts = Annotated[_Source, BeforeValidator(named, json_schema_input_type=str | _Source)]
"""Datasets of text."""
