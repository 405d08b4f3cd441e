"""Pixels as a PNG inside a `data:` URI: a picture that needs no request and no library.

Format: PNG (Third Edition), W3C 2025: signature, header, palette, transparency, data, end; rows without a filter.

Shapes:  H x W pixels.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from results.markup.html_templates import data_uri

__all__ = ["indexed_png", "png_uri", "rgb_png"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TRUECOLOUR, _INDEXED = 2, 3


def png_uri(png: bytes) -> str:
    """The picture as an address."""
    return data_uri(png, "image/png")


def rgb_png(pixels: np.ndarray) -> bytes:
    """PNG of pixels (H, W, 3) uint8."""
    # The difference to the row above compresses photographs to two thirds: filter 2, `up`.
    above = np.concatenate([np.zeros_like(pixels[:1]), pixels[:-1]])
    return _png(pixels.shape[:2], _TRUECOLOUR, (pixels - above).reshape(len(pixels), -1), filtered=2)


def indexed_png(indices: np.ndarray, palette: np.ndarray) -> bytes:
    """PNG of pixels (H, W) uint8 that are rows of a palette (K, 4) uint8: red, green, blue, opacity."""
    chunks = _chunk(b"PLTE", palette[:, :3].tobytes()) + _chunk(b"tRNS", palette[:, 3].tobytes())
    return _png(indices.shape, _INDEXED, indices, chunks)


def _png(size: tuple[int, ...], kind: int, rows: np.ndarray, chunks: bytes = b"", *, filtered: int = 0) -> bytes:
    height, width = size
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    marked = np.concatenate([np.full((height, 1), filtered, dtype=np.uint8), rows], axis=1)
    data = zlib.compress(marked.tobytes(), 9)
    return _SIGNATURE + _chunk(b"IHDR", header) + chunks + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
