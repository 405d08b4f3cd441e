"""State dicts of checkpoint files, whatever their wrapping; other files are named for what they are.

Files differ in their wrapping (`state_dict`, `state_dict_ema`, `model`, `model_ema`, `student`, `teacher`, several of
them, or none) and in a `module.` prefix. No code in a file is executed: torch reads tensors and plain values only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from search_space.parsing.errors import Problem, SpecError, first_of

__all__ = ["check_finite", "read_checkpoint"]

PLAIN, EMA = ("state_dict", "model", "student", "model_state_dict"), ("state_dict_ema", "model_ema", "teacher")
# timm's training scripts save their arguments with the weights; a Namespace contains values and executes no code.
HARMLESS: tuple[Callable[..., Any], ...] = (argparse.Namespace,)
_MOST_WRAPPINGS = 3
_MOST_NAMED = 4
_LARGEST_HEADER = 100_000_000
"""Of a safetensors file, as its library has it."""


def read_checkpoint(path: Path, *, ema: bool | None = None) -> dict[str, Tensor]:
    """Read the state dict of a released file, without its wrapping.

    Args:
        ema: Read the averaged weights (True) or the plain ones (False); None prefers the averaged ones.

    Raises:
        SpecError: the file is missing, is not a checkpoint, contains code, or lacks the requested weights.
    """
    state = _load(path)
    for depth in range(_MOST_WRAPPINGS):
        wrapped = {name: state[name] for name in (*PLAIN, *EMA) if isinstance(state.get(name), Mapping)}
        if not wrapped:
            if ema and not depth:
                hint = "without --ema, plain weights are used"
                raise SpecError(Problem("contains no averaged weights", where=str(path), hint=hint))
            break
        # An inner wrapping is of the weights that the outer one chose.
        wanted = {None: (*EMA, *PLAIN), True: EMA, False: PLAIN}[None if depth else ema]
        chosen = [name for name in wanted if name in wrapped]
        if not chosen:
            kind, other = ("averaged", "--no-ema") if ema else ("plain", "--ema")
            text = f"contains no {kind} weights, only {', '.join(sorted(wrapped))}"
            raise SpecError(Problem(text, where=str(path), hint=f"use {other} for these"))
        state = wrapped[chosen[0]]
    tensors = {str(key).removeprefix("module."): value for key, value in state.items()}
    foreign = [key for key, value in tensors.items() if not isinstance(value, Tensor)]
    if foreign or not tensors:
        shown = ", ".join(map(repr, foreign[:5]))
        raise SpecError(
            Problem(
                f"contains more than weights: {shown}" if foreign else "contains no weights",
                where=str(path),
                hint=f"known wrappings: {', '.join(sorted((*PLAIN, *EMA)))}, or the weights themselves",
            )
        )
    return tensors


def check_finite(tensors: Mapping[str, Tensor], name: Path | str, *, path: str = "") -> None:
    """Raise SpecError if a tensor of the file of this name has numbers that are not finite.

    Args:
        path: of the sweep's key that names the file.
    """
    broken = [name for name, each in tensors.items() if each.is_floating_point() and not each.isfinite().all()]
    if broken:
        text = f"{name} has numbers that are not finite in {first_of(broken, _MOST_NAMED)}"
        hint = "these weights are of a training that diverged, or the file is damaged"
        raise SpecError(Problem(text, path=path, hint=hint))


def _load(path: Path) -> Mapping[str, Any]:
    if reason := _why_no_checkpoint(path):
        raise SpecError(Problem(reason[0], where=str(path), hint=reason[1]))
    try:
        if _is_safetensors(path):
            return load_file(path)
        with torch.serialization.safe_globals(list(HARMLESS)):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as err:  # a damaged file can raise any exception
        raise SpecError(_why_unreadable(path)) from err
    if not isinstance(content, Mapping):
        raise SpecError(Problem(f"is not a checkpoint, but a {type(content).__name__}", where=str(path)))
    return content


def _is_safetensors(path: Path) -> bool:
    """By the file's beginning, whatever its name: the length of a header, which is JSON."""
    with path.open("rb") as stream:
        start = stream.read(9)
    return path.suffix == ".safetensors" or (
        start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= _LARGEST_HEADER
    )


def _why_no_checkpoint(path: Path) -> tuple[str, str] | None:
    """What the file is instead, and what to do; None where it may be a checkpoint."""
    if not path.exists():
        return "no such file", ""
    if path.is_dir():
        return "is a folder, and weights are one file", "name the file in it"
    if not path.is_file():
        return "is no file, but a pipe, a socket or a device, which is not read", "name a file"
    try:
        with path.open("rb") as stream:
            start = stream.read(512)
    except OSError as err:
        return f"cannot be read: {err.strerror}", ""
    if not start:
        return "is empty", "copy or download it again"
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        hint = "a link that wants a login or a confirmation gives a page instead: download the file by hand"
        return "is a web page, not a checkpoint", hint
    if text.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself", "run `git lfs pull` in its repository"
    if path.name.endswith(".index.json") or _is_index(path, start):
        hint = "load its parts by safetensors.torch.load_file, and save them together by save_file as one file"
        return "lists the parts of a checkpoint, and weights are one file", hint
    return None


def _is_index(path: Path, start: bytes) -> bool:
    if path.suffix != ".json" or not start.lstrip().startswith(b"{"):
        return False
    try:
        return "weight_map" in json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False


def _why_unreadable(path: Path) -> Problem:
    with path.open("rb") as stream:
        start = stream.read(4)
    if _is_safetensors(path):
        other = "; its beginning is that of PyTorch's own format" if start[:2] in (b"PK", b"\x80\x02") else ""
        text = f"is not a complete safetensors file ({path.stat().st_size} bytes){other}"
        hint = "rename it to end in .pth" if other else "it may be cut off: copy or download it again"
        return Problem(text, where=str(path), hint=hint)
    try:
        foreign = set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) - {"argparse.Namespace"}
    except Exception:  # as above: what cannot be read has no names to tell
        foreign = set()
    if foreign:
        return Problem(
            f"contains objects other than tensors and plain values: {', '.join(sorted(foreign))}",
            where=str(path),
            hint="reading them would execute code. If you trust the file, save only its weights and import those",
        )
    if start[:2] == b"PK":
        text = f"is a damaged checkpoint ({path.stat().st_size} bytes)"
        return Problem(text, where=str(path), hint="it may be cut off: copy or download it again")
    return Problem("is not a checkpoint that torch can read with weights_only=True", where=str(path))
