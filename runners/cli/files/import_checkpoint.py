"""`archsweep import-checkpoint`: conversion of released weights to a safetensors file that a named model loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from results.store.files import atomic_write
from search_space import Problem, SpecError
from search_space.parsing.errors import first_of
from search_space.parsing.visible import visible

__all__ = ["import_checkpoint"]

_MOST_NAMED = 6


def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="Released checkpoint: .pth, .pt, .pth.tar or .safetensors.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Name of the model: of the zoo, or timm's.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")],
    ema: Annotated[bool | None, typer.Option("--ema/--no-ema", help="Take the averaged or the plain weights.")] = None,
    img_size: Annotated[int | None, typer.Option(min=1, help="Image size. Default: the model's own.")] = None,
    num_classes: Annotated[int, typer.Option(min=0, help="Number of classes of the weights; 0: none.")] = 1000,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Convert a released checkpoint to safetensors.

    Wrappings (state_dict, teacher, ...) and prefixes (module., backbone., ...) are recognised. Position embeddings are
    resized to the model's images; what is left out is listed. Nothing in FILE is executed.
    """
    if output.suffix != ".safetensors":
        raise SpecError(Problem("the output is a safetensors file", where=str(output), hint="end it in .safetensors"))
    if output.exists() and not force:
        raise SpecError(Problem("exists already", where=str(output), hint="choose another name, or --force"))
    from safetensors.torch import save  # imports torch

    from modelzoo.official.checkpoint_file import read_checkpoint
    from modelzoo.official.checkpoints import convert_checkpoint

    state = read_checkpoint(file, ema=ema)
    converted = convert_checkpoint(state, model, img_size=img_size, num_classes=num_classes)
    weights = converted.tensors
    # Not by safetensors' own writer, whose errors of the disk are no OSErrors.
    atomic_write(output, save(weights, metadata={"format": "pt", "architecture": model, "source": file.name}))
    for words, names in (("left out", converted.left_out), ("resized", converted.resized)):
        if names:
            print(visible(f"{words}: {first_of(names, _MOST_NAMED)}"))
    size = f", img_size={img_size}" if img_size else ""
    classes = f", num_classes={num_classes}" if num_classes != 1000 else ""
    print(
        f"wrote {output}: {len(weights)} tensors; "
        f"next: timm.create_model({model!r}, checkpoint_path={str(output)!r}{size}{classes})"
    )
