"""`archsweep import-runs`: runs that other programs trained, as a run directory with the same table."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from search_space.parsing.errors import Problem, SpecError, first_of
from search_space.parsing.visible import visible

__all__ = ["import_runs"]

_MOST_NAMED = 8


class _Kind(StrEnum):
    csv = "csv"
    wandb = "wandb"
    mlflow = "mlflow"
    tensorboard = "tensorboard"


class _Direction(StrEnum):
    maximize = "maximize"
    minimize = "minimize"


class _Duplicates(StrEnum):
    error = "error"
    first = "first"
    last = "last"


class _Unfinished(StrEnum):
    error = "error"
    failed = "failed"


def import_runs(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="CSV file, W&B, MLflow or TensorBoard folder.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="The run directory to write.")],
    metric: Annotated[str, typer.Option("--metric", metavar="[NAME=]KEY", help="The metric that ranks variants.")],
    direction: Annotated[_Direction | None, typer.Option(help="Which way is better. Known of archsweep's own.")] = None,
    unit: Annotated[str | None, typer.Option(help="Unit of the metric: %, nats, ...")] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", metavar="[NAME=]KEY,...", help="Further metrics to show.")
    ] = None,
    seed: Annotated[str, typer.Option("--seed", metavar="KEY", help="Where the seed is.")] = "seed",
    config: Annotated[
        str | None, typer.Option("--config", metavar="KEY,...", help="The keys that make a variant. Default: all.")
    ] = None,
    ignore: Annotated[str | None, typer.Option("--ignore", metavar="KEY,...", help="Keys that do not.")] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="KEY=VALUE,...", help="Default: the first run's variant.")
    ] = None,
    best: Annotated[bool, typer.Option("--best/--last", help="The best value of the history, or the last.")] = False,
    duplicates: Annotated[
        _Duplicates, typer.Option(help="Which of two runs of one variant and seed counts.")
    ] = _Duplicates.error,
    unfinished: Annotated[
        _Unfinished, typer.Option(help="What a run is that does not say that it ended.")
    ] = _Unfinished.error,
    name: Annotated[str | None, typer.Option(help="Name of the table. Default: that of RUN.")] = None,
    kind: Annotated[_Kind | None, typer.Option("--from", help="Kind of the sources. Default: recognised.")] = None,
) -> None:
    """Import runs that other programs trained into a run directory, for the same table.

    Runs are grouped by all of their configuration but the seed. Keys that differ in every run are left out and listed.
    Tables mark the rows as imported. Nothing in SOURCE is changed.
    """
    from runners.imports.grouping import Choice, described
    from runners.imports.metrics import metric_key
    from runners.imports.write_run import Measuring, import_sources  # numpy

    chosen = tuple(dict.fromkeys(map(metric_key, [metric, *_listed(metrics)])))
    if len({each.name for each in chosen}) < len(chosen):
        raise SpecError(Problem("two metrics have one name", where="--metrics", hint="name them: NAME=KEY"))
    made = import_sources(
        sources,
        output,
        name=name or output.resolve().name,
        kind=kind.value if kind else None,
        choice=Choice(
            seed=seed,
            config=None if config is None else _listed(config),
            ignore=_listed(ignore),
            baseline=baseline,
            duplicates=duplicates.value,
        ),
        measuring=Measuring(
            metrics=chosen,
            direction=direction.value if direction else None,
            unit=unit,
            value="best" if best else "last",
            unfinished=unfinished.value,
        ),
    )
    grouping = made.grouping
    num_seeds = len(made.plan.seeds)
    failed = [record for record in made.records if record.status == "failed"]
    lines = [
        f"imported {len(made.records)} runs: {len(grouping.groups)} variants, {num_seeds} seed{'s'[: num_seeds - 1]}",
        f"varied: {', '.join(grouping.varying)}",
        f"baseline: {described(grouping.baseline.config, grouping.varying)}" + (" (the first)" * (baseline is None)),
    ]
    if grouping.left_out:
        lines.append(f"left out, because they differ in every run: {', '.join(grouping.left_out)}")
    if grouping.dropped:
        lines.append(f"left out as duplicates: {first_of([run.place for run in grouping.dropped], _MOST_NAMED)}")
    lines += [f"left out: {note}" for note in made.notes]
    if failed:
        named = [f"{record.variant} seed {record.seed}" for record in failed]
        lines.append(f"failed: {first_of(named, _MOST_NAMED)}")
    lines.append(f"wrote {output}; next: archsweep table {output}")
    print("\n".join(map(visible, lines)))


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
