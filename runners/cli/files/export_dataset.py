"""`archsweep export-dataset`: a built-in dataset as files that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search_space import Problem, SpecError
from search_space.parsing.errors import did_you_mean

__all__ = ["export_dataset"]

_DATASETS = ("builtin/scenes",)


def export_dataset(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Dataset: builtin/scenes.", show_default=False)],
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to write; new, or empty.", show_default=False)
    ],
    num_train: Annotated[int, typer.Option(min=1, help="Number of training images.")] = 600,
    num_test: Annotated[int, typer.Option(min=1, help="Number of test images, the split `val`.")] = 150,
    size: Annotated[int, typer.Option(min=32, help="Height and width in pixels.")] = 64,
    data_seed: Annotated[int, typer.Option(min=0, help="Seed of the images.")] = 0,
    context: Annotated[
        bool, typer.Option("--context", help="The class of triangles depends on a mark in the corner.")
    ] = False,
) -> None:
    """Write a drawn dataset as PNG images, label maps and COCO JSON."""
    if name not in _DATASETS:
        raise SpecError(Problem(f"cannot export {name!r}", where="NAME", hint=did_you_mean(name, _DATASETS)))
    from runners.data.dense.scene_export import export_scenes  # imports torch

    splits = export_scenes(
        directory, num_train=num_train, num_test=num_test, side=size, seed=data_seed, context=context
    )
    for split in splits:
        print(
            f"wrote {directory / split.name} and {directory / f'labels_{split.name}'}: {split.num_images} images of "
            f"{size} x {size} with label maps; {directory / f'instances_{split.name}.json'}: "
            f"{split.num_instances} instances"
        )
