"""`archsweep models`, `schema` and `init`: legal content of a sweep file, and a starter file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from runners.cli.arguments import AsJson
from search_space import ATTENTION_SPECS, Problem, SpecError, json_schema
from search_space.plugins import installed_names, loaded_plugins

__all__ = ["init", "models", "schema"]


def models(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern such as vit_*_patch16_*.")] = "",
    as_json: AsJson = False,
) -> None:
    """List attention mechanisms, options and models."""
    from modelzoo import available_models  # imports timm

    names = available_models(pattern)
    if not names:
        raise SpecError(
            Problem(f"no model matches {pattern!r}", where="archsweep models", hint="try a part of a name: vit, swin")
        )
    if as_json:
        _write_models([] if pattern else sorted(ATTENTION_SPECS), names)
        return
    if pattern:
        print("\n".join(names))
        return
    print("attention mechanisms (`arch.attention: NAME` or `{name: NAME, ...}`):")
    for name in sorted(ATTENTION_SPECS):
        print(f"  {name:12} {_about(name)}")
        for option, default, about in _options(name):
            print(f"      {option} = {json.dumps(default)}" + (f"  {about}" if about else ""))
    print(f"\nmodels (`arch.model`): vit, and {len(names) - 1} names of timm; `archsweep models vit` lists a part")
    loaded = {plugin.name for plugin in loaded_plugins()}
    if further := [name for name in installed_names() if name not in loaded]:
        shown = ", ".join(f"--plugin {name}" for name in further)
        print(f"\ninstalled plug-ins, whose mechanisms and models are listed with: {shown}")


def _about(mechanism: str) -> str:
    return (ATTENTION_SPECS[mechanism].__doc__ or "").splitlines()[0]


def _options(mechanism: str) -> Iterator[tuple[str, Any, str]]:
    """Name, default and description of the options of a mechanism."""
    for option, field in ATTENTION_SPECS[mechanism].model_fields.items():
        if option != "name":
            default = field.get_default(call_default_factory=True)
            yield option, list(default) if isinstance(default, tuple) else default, field.description or ""


def _write_models(mechanisms: Sequence[str], names: Sequence[str]) -> None:
    from runners.cli.documents.document import write_document
    from runners.cli.documents.of_sweeps import MechanismEntry, ModelsDocument, OptionEntry

    attention = [
        MechanismEntry(
            name=name,
            about=_about(name),
            options=[OptionEntry(name=key, default=default, about=about) for key, default, about in _options(name)],
        )
        for name in mechanisms
    ]
    write_document(ModelsDocument(attention=attention, models=list(names)), sys.stdout)


def schema(
    verb: Annotated[
        str, typer.Argument(metavar="[VERB]", help="Of what this verb prints with --json; `problems`: of refusals.")
    ] = "",
) -> None:
    """Print the JSON Schema of sweep files (for editors), or of the JSON that a verb prints."""
    if not verb:
        print(json.dumps(json_schema(), indent=2))
        return
    from runners.cli.documents.schemas import schema_of

    print(json.dumps(schema_of(verb), indent=2))


def init(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="File to write. Default: sweep.yaml, or the name of the shipped sweep.", show_default=False
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    shipped: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME", help="Copy a shipped sweep, e.g. `quickstart`, `deepvit/depth`."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the shipped sweeps with their questions.")] = False,
    ablate_best: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Generate a leave-one-out sweep around the best trial of this search."),
    ] = None,
) -> None:
    """Write a commented sweep file to start from.

    Or a copy of a shipped one (--from), or a leave-one-out sweep around the best trial of a search (--ablate-best).
    """
    if list_:
        _list_shipped()
        return
    if shipped is not None and ablate_best is not None:
        raise typer.BadParameter("the file is a copy or made from a run, not both", param_hint="--from, --ablate-best")
    path = path or Path(f"{Path(shipped).name}.yaml" if shipped else "sweep.yaml")
    if path.exists() and not force:
        raise SpecError(Problem("exists already", where=str(path), hint="choose another name, or --force"))
    try:
        path.write_text(_content(path, shipped, ablate_best), encoding="utf-8")
    except OSError as err:
        raise SpecError(Problem(f"cannot write: {err.strerror}", where=str(path))) from err
    print(f"wrote {path}; next: archsweep plan {path}")


def _content(path: Path, shipped: str | None, ablate_best: Path | None) -> str:
    if shipped is not None:
        from search_space.loading.shipped import shipped_sweep

        return shipped_sweep(shipped, path)
    from search_space import template

    text = template(path.stem)  # also refuses a name that cannot be a folder's
    if ablate_best is not None:
        from runners.driver.ablate_best import ablate_best as sweep_of

        text = sweep_of(ablate_best, path.stem)
    return text


def _list_shipped() -> None:
    from search_space.loading.shipped import question_of, shipped_sweeps

    sweeps = shipped_sweeps()
    width = max(map(len, sweeps))
    for name, file in sweeps.items():
        print(f"{name.ljust(width)}  {question_of(file)}")
