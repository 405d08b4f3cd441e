"""Where a trial's first weights come from: what `arch.weights` says, taken apart.

    timm:TAG                     what timm releases for arch.model, for example timm:augreg_in21k_ft_in1k
    FILE                         a file of weights, or a folder with one of BERT; absolute, or below resources.data_dir
    run:DIRECTORY/VARIANT        what a trial of another run kept
    study:STUDY/VARIANT          the same of another study of this file

In place of VARIANT, `*` is the trial that this one continues: the same but for its length and schedule.

A trial takes the weights of the trial with its own seed; `@SEED` behind the variant names one seed for all of them.
The text is part of a trial's identity; the content of the file belongs to its origin, as the content of its data does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from search_space.schema.training.seeding import Seeding

__all__ = [
    "CONTINUED",
    "WeightsSource",
    "check_release",
    "is_continued",
    "parse_weights",
    "release_of",
    "weights_seed",
    "weights_text",
]

CONTINUED = "*"
"""Variant of weights of the trial that is the same but for its length and schedule."""

_LEGAL = (
    "write a file, timm:TAG, run:DIRECTORY/VARIANT or study:STUDY/VARIANT, the last two with @SEED behind them for the "
    "weights of one seed"
)


@dataclass(frozen=True)
class WeightsSource:
    """Place of first weights.

    Attributes:
        place: the file, the tag of timm's, the run directory or the name of the study.
        variant: name or id of the variant, or `*`; empty of a file.
        seed: of the trial whose weights they are; None: the seed of the trial that begins with them.
    """

    kind: Literal["file", "timm", "run", "study"]
    place: str
    variant: str = ""
    seed: int | None = None


def parse_weights(text: str) -> WeightsSource:
    """The parts of a text of `arch.weights`.

    Raises:
        ValueError: it has none of the legal forms; the message says which there are.
    """
    kind, colon, rest = text.partition(":")
    if kind == "timm" and colon:
        if not re.fullmatch(r"[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*", rest):
            raise ValueError(f"{text!r} names no weights of timm's: write timm:TAG, for example timm:augreg_in21k")
        return WeightsSource("timm", rest)
    if kind not in ("run", "study") or not colon:
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+:.*", text):
            raise ValueError(f"weights are read from this machine only, but got {text!r}: {_LEGAL}")
        return WeightsSource("file", text)
    rest, seed = _split_seed(rest)
    place, slash, variant = rest.partition("/") if kind == "study" else rest.rpartition("/")
    if not slash or not place or not variant:
        raise ValueError(f"{text!r} names no variant: {_LEGAL}")
    return WeightsSource("run" if kind == "run" else "study", place, variant, seed)


def weights_seed(source: WeightsSource, seeding: Seeding, seed: int) -> int:
    """Seed of the trial whose weights the trial with `seed` begins with: they are its initialisation.

    A training that is continued is that of its own seed.
    """
    if source.seed is not None:
        return source.seed
    return seed if source.variant == CONTINUED else seeding.of_source("init", seed)


def is_continued(text: str | None) -> bool:
    """Whether a training with these first weights continues the one that kept them."""
    return text is not None and parse_weights(text).variant == CONTINUED


def release_of(model: str, source: WeightsSource) -> str:
    """Full name of the weights of `timm:TAG` for a model: `vit_tiny_patch16_224.augreg_in21k`."""
    return source.place if "." in source.place else f"{model}.{source.place}"


def check_release(model: str, text: str) -> None:
    """Raise ValueError if `timm:TAG` cannot be of this model."""
    source = parse_weights(text)
    if source.kind != "timm":
        return
    if model in ("vit", "bert"):
        name, dot, _ = source.place.partition(".")
        hint = f"arch.model: {name if dot else 'NAME'}"
        raise ValueError(
            f"timm releases no weights of {model!r}, whose sizes are free: name the model that the tag belongs to, "
            f"{hint}, or write a file"
        )
    of = release_of(model, source).partition(".")[0]
    if of != model:
        raise ValueError(f"{text!r} are weights of {of!r}, but arch.model is {model!r}: write timm:TAG, or that model")


def weights_text(text: str) -> str:
    """The text itself, if it is legal (a validator of pydantic's)."""
    parse_weights(text)
    return text


def _split_seed(text: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"(.*)@([0-9]+)", text)
    return (found[1], int(found[2])) if found else (text, None)
