"""Resources of trials: CPUs, GPUs, GPU memory and time, for all variants and with rules for single ones."""

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
GpuCount = Annotated[
    Annotated[Literal["auto"], Tag("name")] | Annotated[float, Field(ge=0), Tag("number")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "number"),
]
DeviceKind = Literal["cpu", "cuda", "mps", "xpu"]


class TrialShare(Spec):
    """Resources of one trial."""

    cpus: float = Field(default=1.0, ge=0, description="CPUs of a trial; may be fractional")
    gpus: GpuCount = Field(
        default=0.0,
        description="GPUs of a trial; 0: it trains on the CPU, 0.5: two share one, `auto`: one where there are any",
    )
    gpu_memory: GpuMemory | None = Field(
        default=None,
        description="instead of `gpus`: GPU memory of a trial in GiB, or `auto` to measure it; trials share GPUs by it",
    )
    processes: int | None = Field(
        default=None, ge=1, le=1024, description="processes that train a trial together; default: one per whole GPU"
    )
    time_limit: Duration | None = Field(
        default=None, description="maximum duration of a trial: seconds, or `90s`, `30m`, `2h`, `1d`"
    )


class Rule(TrialShare):
    """Resources of the trials of some variants; keys that are not given keep their value."""

    where: str = Field(min_length=1, description="condition on the variant, as in `require`")

    @property
    def changes(self) -> dict[str, Any]:
        """Changed fields. `gpus` and `gpu_memory` are exclusive, so one unsets the other; `gpus` also unsets
        `processes`, because a number of processes belongs to a number of GPUs."""
        named = {name: getattr(self, name) for name in self.model_fields_set - {"where"}}
        if "gpus" in named:
            return {"gpu_memory": None, "processes": None, **named}
        return {"gpus": 0.0, **named} if "gpu_memory" in named else named


class Resources(TrialShare):
    """Resources of all trials of a sweep. Not part of a trial's identity."""

    device: DeviceKind | None = Field(
        default=None,
        description="device of all trials; default: `cuda` where they get a GPU (`gpus`, `gpu_memory`), else `cpu`",
    )
    max_concurrent: int | None = Field(default=None, ge=1, description="concurrent trials; default: as many as fit")
    num_workers: int = Field(default=0, ge=0, description="data-loading processes of a trial")
    cuda_graph: bool = Field(
        default=False,
        description="one CUDA graph for training steps: classification of images in memory, one process, on a GPU",
    )
    max_failures: int = Field(
        default=2, ge=0, le=100, description="how often a trial that lost its worker or node is restarted"
    )
    per_variant: tuple[Rule, ...] = Field(
        default=(), description="other resources for some variants; if several rules apply, the last one wins"
    )
    data_dir: str | None = Field(default=None, description="folder of the dataset")
    sweep_dir: str | None = Field(
        default=None,
        description="folder that relative files of the task `command` are in; default: that of the sweep file",
    )
    runs_dir: str | None = Field(
        default=None,
        description="folder of the runs of `arch.weights: run:...`; default: where `archsweep run` is called",
    )
    study_runs: dict[str, str] = Field(
        default_factory=dict,
        description="study -> run directory, of `arch.weights: study:...`; default: those of this file",
    )
    download: bool = Field(default=False, description="allow the dataset to be downloaded")

    @property
    def is_auto(self) -> bool:
        """Whether some trials take a GPU only where there are any, so that `where_gpus_are` must resolve it."""
        return any(each.gpus == "auto" for each in (self, *self.per_variant))

    @property
    def num_gpus(self) -> float:
        """GPUs of one trial, after `where_gpus_are`."""
        assert not isinstance(self.gpus, str), "`gpus: auto` is resolved before trials are placed"
        return self.gpus

    @property
    def asks_for_gpu(self) -> bool:
        """Whether a trial gets a GPU or a share of one; with `gpus: auto`, where there are any."""
        return self.gpu_memory is not None or self.gpus == "auto" or self.num_gpus > 0

    @property
    def num_processes(self) -> int:
        """Number of processes of one trial."""
        return self.processes or (1 if self.gpus == "auto" else max(1, int(self.num_gpus)))

    def where_gpus_are(self, num_gpus: int) -> Resources:
        """Resources in which every `gpus: auto` is what it means on machines with so many GPUs: 1, or 0 without any."""
        found = {"gpus": 1.0 if num_gpus else 0.0}
        rules = tuple(rule.model_copy(update=found) if rule.gpus == "auto" else rule for rule in self.per_variant)
        return self.model_copy(update={"per_variant": rules, **(found if self.gpus == "auto" else {})})

    def under(self, *rules: Rule) -> Resources:
        """Resources with these rules applied and without further rules."""
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
"""Duration in seconds; written as a number or with a unit."""
