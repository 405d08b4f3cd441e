"""Images that are read one by one, each with its own label or with an error.

timm's `ImageDataset` answers an image that cannot be read with the next one, whose pixels then have the label of the
image after it. Here the trial fails, and names the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO, Protocol

from PIL import Image
from torch.utils.data import Dataset

from runners.data.decoding import in_mode

__all__ = ["DECODING_ERRORS", "LabelledImages", "Reader", "Samples", "UnreadableImage"]

DECODING_ERRORS = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for a file that is no image, or that ends too early."""


class UnreadableImage(Exception):
    """An image of a dataset cannot be read."""


class Reader(Protocol):
    """What timm calls a reader: encoded images with random access, and their labels."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[BinaryIO, Any]: ...

    def filename(self, index: int) -> str: ...


class Samples:
    """Reader of image files, as torchvision's datasets and timm's list them.

    Attributes:
        root: folder of the split; names are relative to it.
        samples: (path, label) in the order of reading.
        class_to_idx: name of a class -> its label.
        notes: what is in the folder and is not read, as sentences.
    """

    def __init__(
        self, root: str, samples: Sequence[tuple[str, int]], classes: Sequence[str], notes: Sequence[str] = ()
    ) -> None:
        self.root = root
        self.samples = samples
        self.class_to_idx = {name: index for index, name in enumerate(classes)}
        self.notes = tuple(notes)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[BinaryIO, int]:
        path, label = self.samples[index]
        return open(path, "rb"), label

    def filename(self, index: int) -> str:
        return self.samples[index][0]


class LabelledImages(Dataset):
    """Images of a reader, decoded: (PIL image of 8 bits a channel, label)."""

    def __init__(self, reader: Any, in_chans: int) -> None:
        self.reader = reader
        self._in_chans = in_chans

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Image and label.

        Raises:
            UnreadableImage: the image cannot be read; another one is never returned for it.
        """
        try:
            stream, label = self.reader[index]
            with stream, Image.open(stream) as image:
                return in_mode(image, self._in_chans), int(label)
        except DECODING_ERRORS as err:
            raise UnreadableImage(f"{self.reader.filename(index) or f'image {index}'}: {err}") from err
