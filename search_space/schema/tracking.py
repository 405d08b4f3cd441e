"""Schema of the section `track`: the experiment trackers of a run and where they write.

The trackers are implemented in `runners/trackers/<name>.py`, and a contract test keeps the two tables consistent. There
is no option for a password or an API key, because sweep files are copied into run directories.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from search_space.parsing.type_guards import is_dict
from search_space.schema.attention import Spec

__all__ = ["TRACKER_SPECS", "MlflowSpec", "OptunaSpec", "TensorBoardSpec", "Track", "TrackerSpec", "WandbSpec"]


class TensorBoardSpec(Spec):
    """Event files for TensorBoard: one folder per trial."""

    name: Literal["tensorboard"] = "tensorboard"
    dir: str | None = Field(
        default=None, min_length=1, description="folder, relative to the sweep file; default: `tensorboard` in the run"
    )


class MlflowSpec(Spec):
    """MLflow: one run per trial below one run for the sweep."""

    name: Literal["mlflow"] = "mlflow"
    tracking_uri: str | None = Field(
        default=None,
        min_length=1,
        description="`http://HOST:PORT`, `sqlite:///FILE`; default: MLFLOW_TRACKING_URI, else a database in the run",
    )
    experiment: str | None = Field(default=None, min_length=1, description="default: the name of the sweep")


class OptunaSpec(Spec):
    """Copy of the run as an Optuna study, for optuna-dashboard."""

    name: Literal["optuna"] = "optuna"
    storage: str | None = Field(
        default=None,
        min_length=1,
        description="`sqlite:///FILE`, `postgresql://USER@HOST/DATABASE`, ..., or a journal file, relative to the "
        "sweep file; default: `optuna/journal.log` in the run",
    )
    study: str | None = Field(default=None, min_length=1, max_length=512, description="default: the name of the sweep")


class WandbSpec(Spec):
    """Weights & Biases: one run per trial, grouped by sweep."""

    name: Literal["wandb"] = "wandb"
    project: str = Field(default="archsweep", min_length=1, max_length=128)
    entity: str | None = Field(default=None, min_length=1, description="user or team; default: your own")
    group: str | None = Field(default=None, min_length=1, description="default: the name of the sweep")
    mode: Literal["online", "offline", "disabled"] | None = Field(
        default=None, description="default: WANDB_MODE, else `online` if you are logged in, else `offline`"
    )
    tags: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(
        default=(), description="tags of every run"
    )


TRACKER_SPECS: dict[str, type[Spec]] = {
    "mlflow": MlflowSpec,
    "optuna": OptunaSpec,
    "tensorboard": TensorBoardSpec,
    "wandb": WandbSpec,
}


def _tag(value: Any) -> str | None:
    return value.get("name") if is_dict(value) else getattr(value, "name", None)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    """List form of the short forms: `track: NAME`, `track: {name: NAME, ...}` and `track: null`."""
    return () if value is None else (value,) if isinstance(value, str | dict) else value


_Options = Annotated[
    Annotated[TensorBoardSpec, Tag("tensorboard")]
    | Annotated[MlflowSpec, Tag("mlflow")]
    | Annotated[OptunaSpec, Tag("optuna")]
    | Annotated[WandbSpec, Tag("wandb")],
    Discriminator(_tag),
]
_Name = Literal["mlflow", "optuna", "tensorboard", "wandb"]
TrackerSpec = Annotated[_Options, BeforeValidator(_named, json_schema_input_type=_Name | _Options)]
Track = Annotated[
    tuple[TrackerSpec, ...],
    BeforeValidator(_listed, json_schema_input_type=_Name | _Options | tuple[_Name | _Options, ...] | None),
]
"""`track: NAME`, `track: {name: NAME, ...options}` or a list of these."""
