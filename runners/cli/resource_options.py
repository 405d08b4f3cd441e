"""Options of `run`, `plan` and `check-data` for values of `resources`: what is run is planned with the same words."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DataDir", "Device", "DeviceOption", "Download", "GpusPerTrial", "resource_overrides"]


class Device(StrEnum):
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"
    xpu = "xpu"


GpusPerTrial = Annotated[
    str | None,
    typer.Option(
        "--gpus-per-trial",
        metavar="NUMBER|auto",
        help="GPUs per trial; a fraction shares a GPU; auto: one where there are any. Overrides resources.gpus.",
    ),
]
DeviceOption = Annotated[
    Device | None,
    typer.Option(
        "--device",
        help="Device of every trial. Overrides resources.device; without both it follows from the GPUs.",
    ),
]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Dataset directory. Overrides resources.data_dir.")]
Download = Annotated[bool, typer.Option("--download", help="Download the dataset or first weights if missing.")]


def resource_overrides(
    *,
    gpus_per_trial: str | None = None,
    device: Device | None = None,
    data_dir: Path | None = None,
    download: bool = False,
) -> list[str]:
    """The options that were given, as `--set` has them.

    Raises:
        BadParameter: no number of GPUs.
    """
    overrides: list[str] = []
    if gpus_per_trial is not None:
        overrides.append(f"resources.gpus={_checked(gpus_per_trial)}")
    if device is not None:
        overrides.append(f"resources.device={device.value}")
    if data_dir is not None:
        overrides.append(f"resources.data_dir={data_dir.resolve()}")
    if download:
        overrides.append("resources.download=true")
    return overrides


def _checked(gpus: str) -> str:
    """A number of GPUs as it is written in a sweep file."""
    try:
        if gpus == "auto" or float(gpus) >= 0:
            return gpus
    except ValueError:
        pass
    text = f"{gpus!r} is no number of GPUs: write 0, 0.5, 1, 4 or auto"
    raise typer.BadParameter(text, param_hint="--gpus-per-trial")
