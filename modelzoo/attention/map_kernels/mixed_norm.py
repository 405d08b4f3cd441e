"""BatchNorm of a mixture of maps, by the moments of the maps: nothing is computed of the mixture itself.

The mixture W m at every pair of tokens is linear, so its mean over a batch is W times the mean of the maps, and its
variance the diagonal of W C W^T with their covariance C (H x H). The norm is then an affine function of the maps, and
its gradients follow from sums of H x M products. A bias of the mixture would only move the mean that the norm takes
away, so its gradient is exactly 0.

    result = (a W) (m - mean) + beta,   a = gamma / sqrt(variance + eps)

With g the gradient by the result, n pairs of tokens and S = n C (`scatter`):

    dgamma = diag(W P^T) / s,  dbeta = sum(g),  P = sum(g (m - mean)^T),  s = sqrt(variance + eps)
    dW     = a (P - dgamma / (n s) W S)
    dm     = (a W)^T g - W^T (a / n (dbeta + dgamma / s W (m - mean)))

Shapes:  H maps that are mixed, M mixtures.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["MixedNorm", "MixedNormGradients", "mixed_norm"]


@dataclass(frozen=True)
class MixedNorm:
    """A norm of mixtures, fixed by a batch: `weight_MH` (m - mean) + beta."""

    mixing_MH: Tensor
    variance_M: Tensor
    inverse_M: Tensor
    slope_M: Tensor

    @property
    def weight_MH(self) -> Tensor:
        return self.slope_M[:, None] * self.mixing_MH


@dataclass(frozen=True)
class MixedNormGradients:
    """Gradients by the parameters, and what completes the gradient by the maps, which is
    weight^T g + `of_maps_HH` (m - mean) + `constant_H`."""

    mixing_MH: Tensor
    gamma_M: Tensor
    of_maps_HH: Tensor
    constant_H: Tensor


def mixed_norm(mixing_MH: Tensor, gamma_M: Tensor, scatter_HH: Tensor, *, count: int, eps: float) -> MixedNorm:
    """The norm of mixtures of maps with this scatter over `count` pairs of tokens."""
    variance_M = (((mixing_MH @ scatter_HH) * mixing_MH).sum(1) / count).clamp_min(0)  # rounding may leave it below
    inverse_M = (variance_M + eps).rsqrt()
    return MixedNorm(mixing_MH, variance_M, inverse_M, gamma_M * inverse_M)


def mixed_norm_gradients(
    norm: MixedNorm, products_MH: Tensor, totals_M: Tensor, scatter_HH: Tensor, *, count: int
) -> MixedNormGradients:
    """Gradients, from the sums P and dbeta over all pairs of tokens."""
    mixing, slope = norm.mixing_MH, norm.slope_M
    gamma_M = norm.inverse_M * (mixing * products_MH).sum(1)
    share_M = norm.inverse_M * gamma_M / count
    of_mixing = slope[:, None] * (products_MH - share_M[:, None] * (mixing @ scatter_HH))
    return MixedNormGradients(
        of_mixing,
        gamma_M,
        -mixing.t() @ ((slope * share_M)[:, None] * mixing),
        -mixing.t() @ (slope * totals_M / count),
    )
