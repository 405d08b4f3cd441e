"""From a picture to the input of a model, as its trial was evaluated: channels, scale, crop, normalisation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from torch import Tensor

from runners.data import DataInfo
from runners.data.decoding import cut_to_size, in_mode
from runners.data.evaluation_crop import EvaluationCrop
from search_space.parsing.errors import Problem, SpecError, reason_of

__all__ = ["Preprocessing"]


@dataclass(frozen=True)
class Preprocessing:
    """Callable from a picture, or the path of one, to a normalised image (C, H, W), float32.

    Attributes:
        info: of the dataset that the model was trained on.
        crop: crop and input size of the evaluation; None: the picture keeps its size, as in detection.
    """

    info: DataInfo
    crop: EvaluationCrop | None

    def __call__(self, picture: Image.Image | str | os.PathLike[str]) -> Tensor:
        """The input of the model for one picture; `[None]` behind it makes a batch.

        Raises:
            SpecError: the file is no picture, or its pixels have no known range.
        """
        try:
            image = picture if isinstance(picture, Image.Image) else Image.open(picture)
            return self._prepared(in_mode(image, self.info.in_chans))
        except (OSError, ValueError) as err:
            where = "" if isinstance(picture, Image.Image) else os.fspath(picture)
            raise SpecError(Problem(f"cannot be read as a picture: {reason_of(err)}", where=where)) from err

    def _prepared(self, image: Image.Image) -> Tensor:
        info, crop = self.info, self.crop
        if crop is not None and info.storage != "memory":
            transform: Any = create_transform(  # of several types, for its `separate`
                (info.in_chans, *crop.img_size),
                mean=info.mean,
                std=info.std,
                crop_pct=crop.crop_pct,
                crop_mode=crop.mode,
                interpolation=crop.interpolation,
            )
            return transform(image)
        if crop is not None:
            # As a folder in memory is decoded: cut to one size, that of the input where it has fewer pixels.
            whole = [info.img_size] if crop.mode else [crop.scaled, info.img_size]
            size = min(whole, key=lambda size: size[0] * size[1])
            image = cut_to_size(image, *size, crop.interpolation)
        pixels = torch.from_numpy(np.array(image)).float() / 255
        channels = pixels.reshape(*pixels.shape[:2], info.in_chans).permute(2, 0, 1)
        mean, std = torch.tensor(info.mean), torch.tensor(info.std)
        if crop is not None:
            channels = crop.of(channels[None], mean)[0]
        return (channels - mean[:, None, None]) / std[:, None, None]
