"""Elements of an SVG, and pixels in it. Texts and attributes are escaped by the XML library, whatever they contain."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from results.figures.style import FONT, INK
from results.markup.png import indexed_png, png_uri, rgb_png

__all__ = ["Element", "grey_image", "image", "label", "new_svg", "overlay", "shape", "svg_text", "text_width"]

Element = ElementTree.Element

_NARROW, _WIDE, _LATIN = frozenset("fijlrtI.,:;'!|()[] "), frozenset("mwMW@%"), 0x24F

_LUMA = np.array([0.299, 0.587, 0.114])
"""Shares of red, green and blue in what is seen as brightness (ITU-R BT.601)."""
_SHARP = 240
"""Pixels of a side up to which images are enlarged by whole numbers: viewers would blur small ones."""
_LARGEST = 360
"""Pixels of a side above which images are made smaller: more are not seen in a cell."""


def new_svg(width: float, height: float) -> Element:
    size = {"width": _number(width), "height": _number(height), "viewBox": f"0 0 {_number(width)} {_number(height)}"}
    spaces = {"xmlns": "http://www.w3.org/2000/svg", "xmlns:xlink": "http://www.w3.org/1999/xlink"}
    root = Element("svg", {**spaces, **size, "font-family": FONT})
    shape(root, "rect", width=width, height=height, fill="#ffffff")
    return root


def svg_text(root: Element) -> str:
    return ElementTree.tostring(root, encoding="unicode")


def shape(parent: Element, tag: str, **attributes: float | str) -> Element:
    """A new element; `_` in the name of an attribute is `-`."""
    named = {
        name.replace("_", "-"): value if isinstance(value, str) else _number(value)
        for name, value in attributes.items()
    }
    return ElementTree.SubElement(parent, tag, named)


def label(
    parent: Element,
    words: str,
    x: float,
    y: float,
    *,
    size: float = 12,
    fill: str = INK,
    anchor: str = "start",
    **attributes: float | str,
) -> None:
    """A line of text whose base line begins, ends or has its middle at a point."""
    shape(parent, "text", x=x, y=y, font_size=size, fill=fill, text_anchor=anchor, **attributes).text = words


def text_width(words: str, size: float = 12) -> float:
    """Width of a line in pixels, from classes of letters of the font; a few percent too wide."""
    ems = (0.3 if one in _NARROW else 0.87 if one in _WIDE else 0.7 if one.isupper() else 0.57 for one in words)
    return size * sum(1.0 if ord(one) > _LATIN else em for one, em in zip(words, ems, strict=True))


def image(parent: Element, pixels: np.ndarray, x: float, y: float, width: float, height: float) -> None:
    """Pixels (H, W, 3) uint8 in a rectangle."""
    _placed(parent, rgb_png(_enlarged(_smaller(pixels))), x, y, width, height)


def grey_image(parent: Element, pixels: np.ndarray, x: float, y: float, width: float, height: float) -> None:
    """Pixels (H, W, 3) uint8 in light grey in a rectangle."""
    greys = (_smaller(pixels) @ _LUMA).round().astype(np.uint8)
    shades = (70 + 0.7 * np.arange(256)).round().astype(np.uint8)
    palette = np.stack([shades, shades, shades, np.full(256, 255, dtype=np.uint8)], axis=1)
    _placed(parent, indexed_png(_enlarged(greys), palette), x, y, width, height)


def overlay(
    parent: Element, indices: np.ndarray, palette: np.ndarray, x: float, y: float, width: float, height: float
) -> None:
    """Pixels (H, W) uint8, rows of a palette (K, 4), in a rectangle."""
    _placed(parent, indexed_png(_enlarged(indices), palette), x, y, width, height)


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    """Small images enlarged by a whole number; pixels stay squares."""
    times = max(1, -(-_SHARP // max(pixels.shape[:2])))
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def _smaller(pixels: np.ndarray) -> np.ndarray:
    """Large images as means over squares of pixels."""
    side = -(-max(pixels.shape[:2]) // _LARGEST)
    height, width = (length // side for length in pixels.shape[:2])
    if side == 1 or not height or not width:
        return pixels
    blocks = pixels[: height * side, : width * side].reshape(height, side, width, side, 3)
    return blocks.mean(axis=(1, 3)).round().astype(np.uint8)


def _placed(parent: Element, png: bytes, x: float, y: float, width: float, height: float) -> None:
    """An image in a rectangle. Rows show the same images: an equal one is used again, and the file stays small."""
    address, size = png_uri(png), (_number(width), _number(height))
    for index, known in enumerate(parent.findall("image")):
        if known.get("xlink:href") == address and (known.get("width"), known.get("height")) == size:
            known.set("id", f"image{index}")
            again = shape(parent, "use", x=x - float(known.attrib["x"]), y=y - float(known.attrib["y"]))
            again.set("xlink:href", f"#image{index}")
            return
    placed = shape(parent, "image", x=x, y=y, width=width, height=height, preserveAspectRatio="none")
    placed.set("xlink:href", address)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
