"""Schema of the sections that change variants before their comparison: `match` (equal cost), `retune` (own optimum)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag

from search_space.schema.attention import Spec
from search_space.schema.parameters import Conditional, Number

__all__ = ["Match", "Retune"]


def _target_tag(value: Any) -> str:
    return "reference" if isinstance(value, str) else "number"


def _share(value: Any) -> Any:
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*%\s*", value) if isinstance(value, str) else None
    return float(found[1]) / 100 if found else value


MatchTarget = Annotated[
    Annotated[Literal["baseline"], Tag("reference")] | Annotated[float, Field(gt=0), Tag("number")],
    Discriminator(_target_tag),
]


class Match(Spec):
    """Variants of equal cost: one number of the architecture is solved for every variant."""

    params_m: MatchTarget | None = Field(default=None, description="target: 10^6 parameters, or `baseline`")
    gmacs: MatchTarget | None = Field(default=None, description="target: 10^9 multiply-accumulates, or `baseline`")
    by: str = Field(min_length=1, description="the number that is solved for, for example `arch.embed_dim`")
    tolerance: Annotated[float, BeforeValidator(_share, json_schema_input_type=float | str), Field(ge=0, lt=1)] = Field(
        default=0.02, description="largest relative difference of the cost: `2 %` or 0.02"
    )
    step: Number | None = Field(default=None, gt=0, description="candidates are its multiples; default 1, or 0.05")

    @property
    def cost(self) -> Literal["params_m", "gmacs"]:
        """Name of the matched cost."""
        return "params_m" if self.params_m is not None else "gmacs"

    @property
    def target(self) -> Literal["baseline"] | float:
        target = self.params_m if self.params_m is not None else self.gmacs
        assert target is not None, "checked by match_issues"
        return target


class Retune(Spec):
    """A small search over training parameters for each variant, before the comparison. Undeclared keys are options of
    the sampler."""

    model_config = ConfigDict(extra="allow")

    parameters: Annotated[dict[str, Conditional], Field(min_length=1)] = Field(
        description="path below `train` -> values or range"
    )
    num_trials: int = Field(ge=1, le=10_000, description="settings tried for every variant")
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1, max_length=100)] = Field(
        description="list of the seeds of the tuning trials; must differ from the reported seeds"
    )
    sampler: str = Field(default="tpe", min_length=1, description="an Optuna sampler: `tpe`, `random`, `qmc`, ...")
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of the sampler, the same for every variant")

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})
