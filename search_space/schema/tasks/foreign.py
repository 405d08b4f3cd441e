"""What the tasks of users' own training share: their configuration, and what they measure.

Such a task has no architecture, data and optimiser of archsweep: what it is given is `config`, a mapping of the user's
own keys, and it answers with numbers whose unit and direction are said in `measures`.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from search_space.parsing.type_guards import is_dict, is_list_or_tuple
from search_space.schema.attention import Spec
from search_space.schema.datasets import DatasetSpec
from search_space.schema.metrics import COST_NAMES, Metric, define_metrics, own_metric
from search_space.schema.tasks.task_spec import TaskSpec

__all__ = ["ForeignSpec", "MeasureSpec", "NoDataSpec", "metric_of_measure"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_LEAF_TYPES = (bool, int, float, str, type(None))


class NoDataSpec(DatasetSpec):
    """In place of a dataset: what the user's own training reads is its own matter. `files` of the task names it."""

    name: Literal["none"] = "none"  # pyright: ignore[reportIncompatibleVariableOverride]

    def test_set(self) -> dict[str, Any]:
        return {"name": self.name}


class MeasureSpec(Spec):
    """Unit and direction of a metric that the user's training measures."""

    direction: Literal["maximize", "minimize"]
    unit: str = Field(default="", max_length=20)
    decimals: int = Field(default=4, ge=0, le=12, description="in tables")
    meaning: str = Field(default="", max_length=200, description="what it is, for captions and documents")


def _directed(value: Any) -> Any:
    return {"direction": value} if isinstance(value, str) else value


Measure = Annotated[
    MeasureSpec,
    BeforeValidator(_directed, json_schema_input_type=Literal["maximize", "minimize"] | MeasureSpec),
]


def _plain(value: Any) -> Any:
    """Lists as tuples, as everywhere in a spec: equal content is equal whatever it was read from.

    Raises:
        ValueError: a value that YAML or JSON cannot hold.
    """
    if is_dict(value):
        keys: list[Any] = list(value)
        if odd := [key for key in keys if not isinstance(key, str)]:
            raise ValueError(f"keys of `config` must be text (quote {odd[0]!r})")
        return {key: _plain(each) for key, each in value.items()}
    if is_list_or_tuple(value):
        return tuple(map(_plain, value))
    if not isinstance(value, _LEAF_TYPES) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("values of `config` must be numbers, texts, true, false, null, lists or mappings of these")
    return value


def _named(measures: dict[str, MeasureSpec]) -> dict[str, MeasureSpec]:
    for name, measure in measures.items():
        if not _NAME.fullmatch(name) or name.startswith("val_") or name == "epoch":
            raise ValueError(f"{name!r} cannot be a metric's name: letters, digits and _, not `epoch` or `val_...`")
        if name in COST_NAMES:
            raise ValueError(f"{name!r} is a cost: the training may report it, and it needs no entry")
        known = own_metric(name)
        if known is not None:
            _is_ours(known, measure)
    return measures


def _is_ours(known: Metric, measure: MeasureSpec) -> None:
    """Raises ValueError where a metric of archsweep's name is another one, or may be: 0.93 is not 0.93 %."""
    of_archsweep = f"{known.name!r} is a metric of archsweep"
    if known.direction != measure.direction:
        better = "higher" if known.direction == "maximize" else "lower" if known.direction else "no"
        raise ValueError(f"{of_archsweep}, of which {better} is better: name yours otherwise")
    if measure.unit != known.unit and (measure.unit or known.unit == "%"):
        unit = f"in {known.unit}" if known.unit else "without a unit"
        say = f'write {{direction: {known.direction}, unit: "{known.unit}"}} if yours is, too'
        raise ValueError(f"{of_archsweep}, {unit}: {say}, else name yours otherwise")
    # Not by what is written: a setting that was stored has every option.
    for option, info in MeasureSpec.model_fields.items():
        value, ours = getattr(measure, option), getattr(known, option)
        if option not in ("direction", "unit") and value not in (info.default, ours):
            raise ValueError(f"{of_archsweep}, whose {option} is {ours!r}: leave {option} out, or name yours otherwise")


class ForeignSpec(TaskSpec):
    """Options of both ways to bring a training of one's own."""

    metrics: ClassVar[tuple[str, ...]] = ()

    dataset: NoDataSpec = NoDataSpec()  # pyright: ignore[reportIncompatibleVariableOverride]
    config: Annotated[dict[str, Any], AfterValidator(_plain)] = Field(
        default_factory=dict, description="the training's own settings, of any keys; `space` may vary each of them"
    )
    measures: Annotated[dict[str, Measure], AfterValidator(_named)] = Field(
        min_length=1,
        description="metric -> `maximize` or `minimize`, or {direction: ..., unit: ..., decimals: ..., meaning: ...}; "
        "the first one ranks variants unless the sweep names another",
    )
    epochs: int | None = Field(
        default=None, ge=1, le=100_000_000, description="how often the training reports, for progress and `prune`"
    )
    files: tuple[str, ...] = Field(
        default=(),
        max_length=1000,
        description="files and folders, relative to the sweep, whose content belongs to the experiment: data, modules",
    )

    @model_validator(mode="after")
    def _define(self) -> ForeignSpec:
        define_metrics(metric_of_measure(name, each) for name, each in self.measures.items())
        return self

    @property
    def measured(self) -> tuple[str, ...]:
        return tuple(self.measures)


def metric_of_measure(name: str, measure: MeasureSpec) -> Metric:
    """The metric of an entry of `measures`; one of archsweep's own names keeps its definition."""
    own = own_metric(name)
    meaning = measure.meaning or "as the training reports it"
    return own or Metric(name, measure.unit, measure.direction, measure.decimals, meaning, (-math.inf, math.inf))
