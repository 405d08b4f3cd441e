"""Feature evolution: how near the features after each block are to the last ones, by linear CKA.

Paper:   Refiner: Refining Self-attention for Vision Transformers, Zhou et al. 2021, arXiv:2106.03714, equation 2; CKA:
         Similarity of Neural Network Representations Revisited, Kornblith et al. 2019, arXiv:1905.00414.
Source:  written from the papers.
Differs: the paper does not say what its examples are; here an example is an image, and its features are those of all
         its tokens, so that stages of a pyramid can be compared as well. f_in is the input of the first block, f_out
         the output of the last one. The draws of 32 images have no image in common, so fewer images give fewer draws.

Shapes:  B images, F features of an image, N tokens, D dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modelzoo.probes.features import block_grams

__all__ = ["Draws", "feature_evolution", "linear_cka"]

DRAW_SIZE, MOST_DRAWS = 32, 10


class Draws:
    """Images of the draws, chosen from all that are added: the same ones wherever the same images are added."""

    def __init__(self) -> None:
        self._stream = torch.Generator().manual_seed(0)
        self._kept: list[Tensor] = []
        self._num_seen = 0
        self._device = torch.device("cpu")
        self.reason: str | None = None
        """Why there are none; None if there are."""

    def add(self, images: object) -> None:
        """Images (B, C, H, W) of the test split."""
        if not isinstance(images, Tensor) or (self._kept and images.shape[1:] != self._kept[0].shape):
            self.reason = "its inputs have different sizes"
            return
        self._device = images.device
        for image in images.cpu():
            # Reservoir sampling: every image is kept with the same probability, however many there will be.
            self._num_seen += 1
            if len(self._kept) < DRAW_SIZE * MOST_DRAWS:
                self._kept.append(image)
                continue
            place = int(torch.randint(self._num_seen, (), generator=self._stream))
            if place < len(self._kept):
                self._kept[place] = image

    def batches(self) -> list[Tensor]:
        """The draws: of 32 images, or a single one of all where there are fewer."""
        order = torch.randperm(len(self._kept), generator=torch.Generator().manual_seed(0)).tolist()
        size = min(DRAW_SIZE, len(order))
        starts = range(0, len(order) - size + 1, max(1, size))
        return [torch.stack([self._kept[index] for index in order[start : start + size]]) for start in starts]

    def measure(self, model: nn.Module) -> Tensor | str:
        """Mean of `feature_evolution` over the draws, or the reason why there is none."""
        if self.reason is not None or self._num_seen < 2:
            return self.reason or "one image alone cannot be compared with others"
        found = [feature_evolution(model, images.to(self._device)) for images in self.batches()]
        if len(found[0]) < 2:
            return "the model has no two blocks"
        mean = torch.stack(found).mean(dim=0)
        return mean.cpu() if bool(mean.isfinite().all()) else "the features of the images do not differ"


def feature_evolution(model: nn.Module, images: Tensor) -> Tensor:
    """CKA(f_k, f_out) / CKA(f_in, f_out) for the features after every block k of one batch, in evaluation mode.

    1 is where the input of the first block is; the last number is the distance that the network covers.
    """
    first, blocks = block_grams(model, images)
    if not blocks:
        return torch.zeros(0, dtype=torch.float64)
    before = _cka(first, blocks[-1])
    return torch.stack([_cka(one, blocks[-1]) / before for one in blocks])


def linear_cka(one_BF: Tensor, other_BF: Tensor) -> Tensor:
    """Linear CKA of two sets of features of the same B examples: HSIC(one, other) over the geometric mean of
    HSIC(one, one) and HSIC(other, other)."""
    one, other = one_BF.double(), other_BF.double()
    return _cka(one @ one.T, other @ other.T)


def _cka(one_BB: Tensor, other_BB: Tensor) -> Tensor:
    """CKA of Gram matrices."""
    one_BB, other_BB = _centred(one_BB), _centred(other_BB)
    return (one_BB * other_BB).sum() / (one_BB.norm() * other_BB.norm())


def _centred(gram_BB: Tensor) -> Tensor:
    return gram_BB - gram_BB.mean(dim=0) - gram_BB.mean(dim=1, keepdim=True) + gram_BB.mean()
