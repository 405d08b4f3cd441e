"""What trials may use: CPUs, GPUs, memory, time; for all of them, and for the variants that need more."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from search_space.schema.attention import Spec

__all__ = ["Duration", "Resources", "Rule"]

GpuMemory = Annotated[
    Annotated[Literal["auto"], Tag("name")] | Annotated[float, Field(gt=0), Tag("number")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "number"),
]


class TrialShare(Spec):
    """What one trial may use."""

    cpus: float = Field(default=1.0, ge=0, description="per trial; may be fractional")
    gpus: float = Field(default=0.0, ge=0, description="per trial; 0.5: two trials share one")
    gpu_memory: GpuMemory | None = Field(
        default=None, description="instead of `gpus`: GiB of a trial, or `auto` to measure it; trials pack by it"
    )
    processes: int | None = Field(
        default=None, ge=1, le=1024, description="that train one trial together; default: one per whole GPU"
    )
    time_limit: Duration | None = Field(
        default=None, description="longest time a trial may take: seconds, or `90s`, `30m`, `2h`, `1d`"
    )


class Rule(TrialShare):
    """What the trials of some variants may use instead; what it does not name stays as it is."""

    where: str = Field(min_length=1, description="a statement about the variant, as in `require`")

    @property
    def changes(self) -> dict[str, Any]:
        """`gpus` and `gpu_memory` exclude each other, so one takes the place of the other; a number of processes is
        meant for the GPUs it was written for."""
        named = {name: getattr(self, name) for name in self.model_fields_set - {"where"}}
        if "gpus" in named:
            return {"gpu_memory": None, "processes": None, **named}
        return {"gpus": 0.0, **named} if "gpu_memory" in named else named


class Resources(TrialShare):
    """Where trials run. Takes no part in their identity."""

    max_concurrent: int | None = Field(default=None, ge=1, description="trials at a time; default: as many as fit")
    num_workers: int = Field(default=0, ge=0, description="data-loading processes of a trial")
    max_failures: int = Field(
        default=2, ge=0, le=100, description="how often a trial that lost its worker or node starts again"
    )
    per_variant: tuple[Rule, ...] = Field(
        default=(), description="what the trials of some variants may use instead; of several that apply the last wins"
    )
    data_dir: str | None = Field(default=None, description="folder of the dataset")
    download: bool = Field(default=False, description="allow the dataset to be downloaded")

    @property
    def num_processes(self) -> int:
        """Processes of one trial."""
        return self.processes or max(1, int(self.gpus))

    def under(self, *rules: Rule) -> Resources:
        """With these rules applied, and no others left."""
        changes = {name: value for rule in rules for name, value in rule.changes.items()}
        return self.model_copy(update={**changes, "per_variant": ()})


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _to_seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([smhd])\s*", value)
    if found is None:
        raise ValueError("a duration is a number of seconds, or a number with a unit: `90s`, `30m`, `2h`, `1d`")
    return float(found[1]) * _SECONDS[found[2]]


Duration = Annotated[float, BeforeValidator(_to_seconds, json_schema_input_type=float | str), Field(gt=0)]
"""Seconds; written as a number or with a unit."""
