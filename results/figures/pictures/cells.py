"""One cell of a picture: an image with what is known or predicted of it drawn over it.

one_class    the class under the image, of a prediction its probability and a frame: solid where right, dashed where
             wrong
label_map    pixels in the colour of their class over the image in grey, which would mix with the colours; those that
             are not counted are white
objects      boxes and masks in the colour of their class, each with its name, of a prediction with its score
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.figures.pictures.class_colours import ClassColours, rgb, text_on
from results.figures.pictures.svg import Element, grey_image, image, label, overlay, shape, text_width
from results.figures.style import BLUE, GREY, INK, LIGHT, ORANGE
from results.predictions.samples import Drawable, LabelMap, Objects, OneClass, Sample

__all__ = ["CAPTION", "Place", "draw_blank", "draw_sample", "occurring_labels"]

CAPTION = 15
"""Height in pixels of the line under a cell that states one class."""
_OVER_PIXELS, _OVER_MASKS, _EDGE = 165, 90, 255
"""Opacity of 255: of classes of pixels, of masks, of the edges of both."""
_BOX, _HALO = 1.6, 3.2
_TAG_HEIGHT, _TAG_SIZE = 10.5, 8.5


@dataclass(frozen=True)
class Place:
    """Rectangle of a cell in pixels of the picture."""

    x: float
    y: float
    width: float
    height: float


def occurring_labels(drawn: Drawable, ignored: int) -> set[int]:
    """Labels of what is drawn, but for the ignored one."""
    labels = [drawn.label] if isinstance(drawn, OneClass) else np.unique(drawn.labels).tolist()
    return set(labels) - {ignored}


def draw_blank(root: Element, place: Place, words: str) -> None:
    """A cell without an image, which says why."""
    box = {"x": place.x + 0.5, "y": place.y + 0.5, "width": place.width - 1, "height": place.height - 1}
    shape(root, "rect", **box, fill="#f6f6f6", stroke=LIGHT, stroke_dasharray="3 3")
    label(root, words, place.x + place.width / 2, place.y + place.height / 2 + 4, size=10, fill=GREY, anchor="middle")


def draw_sample(
    root: Element, place: Place, sample: Sample, drawn: Drawable | None, colours: ClassColours, *, ignored: int = -1
) -> None:
    """An image with its truth or its prediction, or by itself."""
    show = grey_image if isinstance(drawn, LabelMap) else image
    show(root, sample.image, place.x, place.y, place.width, place.height)
    if isinstance(drawn, LabelMap):
        _draw_map(root, place, drawn.labels, colours, ignored)
    elif isinstance(drawn, Objects):
        _draw_objects(root, place, drawn, sample.image.shape[:2], colours)
    elif drawn is not None:
        _draw_class(root, place, sample, drawn, colours)


def _draw_class(root: Element, place: Place, sample: Sample, drawn: OneClass, colours: ClassColours) -> None:
    words, fill = colours.name(drawn.label), INK
    if np.isfinite(drawn.probability):
        assert isinstance(sample.truth, OneClass)
        is_right = sample.truth.label == drawn.label
        fill = BLUE if is_right else ORANGE
        words += f" ({drawn.probability:.2f})"
        frame = {"x": place.x + 1, "y": place.y + 1, "width": place.width - 2, "height": place.height - 2}
        dashes = {} if is_right else {"stroke_dasharray": "6 4"}
        shape(root, "rect", **frame, fill="none", stroke="#ffffff", stroke_width=3.5)
        shape(root, "rect", **frame, fill="none", stroke=fill, stroke_width=2, **dashes)
    label(root, words, place.x + place.width / 2, place.y + place.height + 11, size=10, fill=fill, anchor="middle")


def _draw_map(root: Element, place: Place, labels: np.ndarray, colours: ClassColours, ignored: int) -> None:
    palette = np.zeros((256, 4), dtype=np.uint8)
    for one, colour in colours.colours.items():
        palette[one] = (*rgb(colour), _OVER_PIXELS)
    if ignored >= 0:
        palette[ignored] = (255, 255, 255, _OVER_PIXELS)
    overlay(root, labels, palette, place.x, place.y, place.width, place.height)


def _draw_objects(root: Element, place: Place, found: Objects, size: tuple[int, ...], colours: ClassColours) -> None:
    order = range(len(found.labels))[::-1]  # the surest ones in front
    if found.masks is not None and len(found.masks):
        _draw_masks(root, place, found.masks[::-1], found.labels[::-1], colours)
    height, width = size
    scale = np.array([place.width / width, place.height / height] * 2)
    corners = found.boxes * scale + np.array([place.x, place.y] * 2)
    least, most = (place.x, place.y), (place.x + place.width, place.y + place.height)
    corners = corners.clip([*least, *least], [*most, *most])
    for at in order:
        left, top, right, bottom = corners[at].tolist()
        box = {"x": left, "y": top, "width": max(right - left, 1.0), "height": max(bottom - top, 1.0)}
        colour = colours.colours.get(int(found.labels[at]), GREY)
        shape(root, "rect", **box, fill="none", stroke="#ffffff", stroke_width=_HALO, stroke_opacity=0.7)
        shape(root, "rect", **box, fill="none", stroke=colour, stroke_width=_BOX)
    for at in order:
        _tag(root, place, corners[at].tolist(), int(found.labels[at]), float(found.scores[at]), colours)


def _tag(root: Element, place: Place, corners: list[float], one: int, score: float, colours: ClassColours) -> None:
    """Name and score on the colour of the class, above the box, or inside of it where there is no room."""
    words = colours.name(one) + (f" {score:.2f}" if np.isfinite(score) else "")
    width = min(text_width(words, _TAG_SIZE) + 4, place.width)
    x = min(max(corners[0] - _BOX / 2, place.x), place.x + place.width - width)
    y = corners[1] - _TAG_HEIGHT if corners[1] - _TAG_HEIGHT >= place.y else corners[1]
    colour = colours.colours.get(one, GREY)
    shape(root, "rect", x=x, y=y, width=width, height=_TAG_HEIGHT, fill=colour)
    # Readers have other fonts than the one measured with: the text is made as wide as its ground.
    fitted = {"textLength": width - 4, "lengthAdjust": "spacingAndGlyphs"}
    label(root, words, x + 2, y + _TAG_HEIGHT - 2.5, size=_TAG_SIZE, fill=text_on(colour), **fitted)


def _draw_masks(root: Element, place: Place, masks: np.ndarray, labels: np.ndarray, colours: ClassColours) -> None:
    """Masks in one layer: a palette has two entries for each class, its area and its edge."""
    present = np.unique(labels).tolist()[:127]
    palette = np.zeros((256, 4), dtype=np.uint8)
    layer = np.zeros(masks.shape[1:], dtype=np.uint8)
    for index, one in enumerate(present):
        palette[2 * index + 1] = (*rgb(colours.colours.get(one, GREY)), _OVER_MASKS)
        palette[2 * index + 2] = (*rgb(colours.colours.get(one, GREY)), _EDGE)
    for mask, one in zip(masks, labels.tolist(), strict=True):
        if one in present:
            layer[mask] = 2 * present.index(one) + 1
            layer[_edge(mask)] = 2 * present.index(one) + 2
    overlay(root, layer, palette, place.x, place.y, place.width, place.height)


def _edge(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask that have a neighbour outside of it."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    inside = mask.copy()
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        inside &= padded[down : down + height, right : right + width]
    return mask & ~inside
