"""Spec of the task `command`: a program in any language trains, and its files or its output give the metrics."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from search_space.schema.attention import OnlyWhole, Spec
from search_space.schema.tasks.foreign import ForeignSpec

__all__ = ["CommandSpec", "ProgressSpec", "ResultSpec", "ResumeSpec"]


def _finds_a_number(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except (re.error, OverflowError) as err:
        raise ValueError(f"is no regular expression: {err}") from err
    if groups != 1:
        raise ValueError(f"needs one group in brackets, the number, and has {groups}")
    return pattern


def _is_inside(path: str) -> str:
    if path.startswith(("/", "~")) or ".." in path.replace("\\", "/").split("/"):
        raise ValueError("must be a path inside of the trial's own folder, where the program writes it")
    return path


Inside = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_is_inside)]
Pattern = Annotated[str, Field(max_length=1000), AfterValidator(_finds_a_number)]


class _OneSource(Spec):
    json_file: Inside | None = Field(default=None, alias="json", description="file with a JSON object")
    csv: Inside | None = Field(default=None, description="file with a header and a row for every epoch")
    regex: dict[str, Pattern] = Field(
        default_factory=dict, description="metric -> pattern with one group, of the output"
    )

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    @model_validator(mode="after")
    def _has_one(self) -> _OneSource:
        given = [name for name in ("json_file", "csv", "regex") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError("needs one of json, csv and regex")
        return self


class ResultSpec(_OneSource):
    """Where the metrics of a finished program are: one of three."""

    row: Literal["last", "best"] = Field(
        default="last", description="of `csv`: the last epoch, or the best one by the sweep's metric"
    )
    rename: dict[str, str] = Field(
        default_factory=dict, description="metric -> its key in the file, such as {top1: eval_top1}; dots lead inside"
    )


class ProgressSpec(_OneSource):
    """Where the metrics of every epoch are while the program runs, for the live view and for `prune`."""

    json_file: Inside | None = Field(default=None, alias="jsonl", description="file with a JSON object on every line")
    rename: dict[str, str] = Field(default_factory=dict, description="as of `metrics`; `epoch` may be renamed, too")
    first_epoch: Annotated[Literal[0, 1], OnlyWhole] = Field(
        default=1, description="number that the program gives its first epoch"
    )


class ResumeSpec(Spec):
    """Arguments by which a program continues from its own checkpoint."""

    file: Inside = Field(description="the checkpoint, in the trial's folder; without it, training starts from scratch")
    argv: tuple[str, ...] = Field(
        min_length=1, max_length=100, description="arguments that follow those of `argv` where the file exists"
    )


class CommandSpec(ForeignSpec):
    """A program, started without a shell, whose arguments, environment and files have the values of `config`."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    name: Literal["command"] = "command"  # pyright: ignore[reportIncompatibleVariableOverride]
    argv: tuple[str, ...] = Field(
        min_length=1,
        max_length=1000,
        description="program and arguments with placeholders `{KEY}`: keys of `config`, paths such as {train.lr}, and "
        "{seed}, {device}, {dir}, {trial_id}, {config_file}, {python}; `{{` is a brace",
    )
    env: dict[str, str] = Field(default_factory=dict, description="environment variable -> text with placeholders")
    config_file: Annotated[Inside, Field(pattern=r"\.(ya?ml|json)$")] | None = Field(
        default=None, description="write `config` there, in the trial's folder, as YAML or JSON"
    )
    results: ResultSpec = Field(alias="metrics", description="{json: FILE}, {csv: FILE} or {regex: {METRIC: PATTERN}}")
    progress: ProgressSpec | None = Field(default=None, description="as `metrics`, read while the program runs")
    resume: ResumeSpec | None = Field(
        default=None, description="{file: CHECKPOINT, argv: [...]}: arguments to continue an interrupted trial"
    )
    cwd: str | None = Field(
        default=None,
        max_length=1000,
        description="working directory, relative to the sweep; default: the trial's own folder",
    )
