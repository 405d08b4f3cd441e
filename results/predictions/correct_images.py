"""Which images of the test split a trial classified right, as one text in its record.

    359:q83v...     the number of images, a colon, and base64 of one bit per image

The bits are in the order of the dataset, 1 where top-1 was right, packed as `numpy.packbits` does: the first image is
the highest bit of the first byte, and the last byte is filled with zeros. 50,000 images take 8.3 kB. In a room of its
own because the store verifies the text and the statistics read it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CorrectImages", "decode_correct", "encode_correct"]

_TEXT = re.compile(r"([1-9][0-9]{0,8}):([A-Za-z0-9+/]*={0,2})")


@dataclass(frozen=True)
class CorrectImages:
    """The decoded text: `num` images, their bits packed into ceil(num / 8) bytes."""

    num: int
    packed: bytes

    @property
    def percent(self) -> float:
        """Share of right images in percent: the accuracy."""
        return 100 * int.from_bytes(self.packed).bit_count() / self.num


def encode_correct(is_right: Sequence[bool]) -> str:
    """The text of at least one image."""
    num = len(is_right)
    assert num > 0, "predictions of no image"
    bits = int("".join("1" if right else "0" for right in is_right), 2) << -num % 8
    return f"{num}:{base64.b64encode(bits.to_bytes(_num_bytes(num))).decode()}"


def decode_correct(text: str) -> CorrectImages:
    """The images that a text describes.

    Raises:
        ValueError: it is no such text; the message says why.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError("not a number of images, a colon and base64")
    num = int(match[1])
    try:
        packed = base64.b64decode(match[2], validate=True)
    except binascii.Error as err:
        raise ValueError(f"not base64: {err}") from err
    if len(packed) != _num_bytes(num):
        raise ValueError(f"{len(packed)} bytes, and {num} images take {_num_bytes(num)}")
    if int.from_bytes(packed) & ((1 << -num % 8) - 1):
        raise ValueError(f"bits behind those of its {num} images")
    return CorrectImages(num, packed)


def _num_bytes(num: int) -> int:
    return -(-num // 8)
