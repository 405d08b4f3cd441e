"""Images of a stream: decoded from its samples, which take the place of indices in PyTorch's loader.

Workers decode what they are given and read nothing. Price: the encoded images pass through a pipe, and every process of
a trial that several train reads the whole stream (docs/decisions/0013-shards-and-streams.md).
"""

from __future__ import annotations

import io
from itertools import islice

from PIL import Image
from torch.utils.data import Dataset

from runners.data.decoding import in_mode
from runners.data.readers.labelled_images import DECODING_ERRORS, UnreadableImage
from runners.data.readers.labels import label_faults
from runners.data.readers.sizes import median_size
from runners.data.streams.sample_stream import Sample, SampleStream, in_file_order

__all__ = ["StreamImages", "common_size_of_stream"]

_MOST_SIZES = 64


class StreamImages(Dataset):
    """Dataset whose item at a `Sample` is its image, with 8 bits a channel, and its label."""

    def __init__(self, stream: SampleStream, in_chans: int, num_classes: int) -> None:
        self._num_samples = len(stream)
        self._in_chans = in_chans
        self._num_classes = num_classes

    def __len__(self) -> int:
        return self._num_samples

    def __getitem__(self, sample: Sample) -> tuple[Image.Image, int]:
        """Image and label.

        Raises:
            UnreadableImage: the image cannot be read, or the label is no number of a class.
        """
        if sample.fault:
            raise UnreadableImage(f"{sample.name}: {sample.fault}")
        try:
            with Image.open(io.BytesIO(sample.encoded)) as opened:
                image = in_mode(opened, self._in_chans)
        except DECODING_ERRORS as err:
            raise UnreadableImage(f"{sample.name}: {err}") from err
        if wrong := label_faults([sample.label], self._num_classes):
            raise UnreadableImage(f"{sample.name}: its label is no number of a class: {'; '.join(wrong)}")
        return image, int(sample.label)


def common_size_of_stream(stream: SampleStream) -> tuple[int, int]:
    """(height, width): lower medians over the first 64 images in the order of the files."""
    sizes = []
    for sample in islice(in_file_order(stream), _MOST_SIZES):
        try:
            with Image.open(io.BytesIO(sample.encoded)) as image:
                sizes.append((image.height, image.width))
        except DECODING_ERRORS:
            pass  # said where it is decoded
    return median_size(sizes)
