"""Colours and names of classes in pictures.

Only classes that occur in a picture have a colour, in the order of their labels, so that few classes have colours that
colour-blind readers tell apart. Of more than six, further ones are darker and lighter, and of more than 18 they repeat.
A class named `background` has none: it would tint everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from results.figures.style import PALETTE
from search_space.parsing.visible import visible

__all__ = ["NUM_COLOURS", "ClassColours", "colours_of", "rgb", "text_on"]

_DARKER, _LIGHTER = 0.55, 0.5
NUM_COLOURS = 3 * len(PALETTE)
_LONGEST = 24


@dataclass(frozen=True)
class ClassColours:
    """Colours by label, `#rrggbb`, and names by label of the classes of one picture; `bare` are those without colour.

    Any other label, as an arm may predict that is not in the legend, has the name `class N`.
    """

    colours: Mapping[int, str]
    names: Mapping[int, str]
    bare: frozenset[int]

    def name(self, label: int) -> str:
        return self.names.get(label, f"class {label}")


def colours_of(labels: Iterable[int], names: Mapping[int, str]) -> ClassColours:
    """Colours of the labels that occur."""
    occurring = sorted(set(labels))
    shown = {label: _short(visible(names[label])) for label in occurring if names.get(label)}
    bare = frozenset(label for label in occurring if names.get(label) == "background")
    coloured = [label for label in occurring if label not in bare]
    shades = [*PALETTE, *(_mixed(one, 0, _DARKER) for one in PALETTE), *(_mixed(one, 255, _LIGHTER) for one in PALETTE)]
    return ClassColours({label: shades[at % NUM_COLOURS] for at, label in enumerate(coloured)}, shown, bare)


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green, blue of `#rrggbb`."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def text_on(colour: str) -> str:
    """Black or white, whichever has the higher contrast on a colour (relative luminance of WCAG 2.2)."""
    linear = [(one / 255) ** 2.2 for one in rgb(colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"


def _mixed(colour: str, other: int, share: float) -> str:
    return "#" + bytes(round(share * one + (1 - share) * other) for one in rgb(colour)).hex()


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 3] + "..."
