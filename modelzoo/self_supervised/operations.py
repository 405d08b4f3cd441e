"""Operations on a teacher's outputs that use the whole batch in place of a centre: Sinkhorn-Knopp, softmax over it.

An iteration of Sinkhorn-Knopp divides exp(x / tau) by its sums over the batch, then by its sums over the prototypes, so
that each prototype gets an equal share of the batch. One iteration is the softmax over the batch of table 15.

Paper:   DINO, Caron et al. 2021, arXiv:2104.14294, appendix B (SwAV, arXiv:2006.09882, has the iterations).
Source:  written from the equations, with logarithms, so that no sum is 0.
Note:    the batch is all rows of all global views: the paper does not state whether it treats the views apart.

Shapes:  R rows of a process, K prototypes.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["sinkhorn_probabilities"]


def sinkhorn_probabilities(
    logits: Tensor,
    temperature: float,
    *,
    iterations: int,
    gathered: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Distributions (R, K), which sum to 1 over the prototypes.

    Args:
        gathered: Rows (1, K) of this process -> those of all processes (P, K), where a batch is shared among several.
    """
    logs = logits / temperature
    for _ in range(iterations):
        of_batch = logs.logsumexp(dim=0, keepdim=True)
        if gathered is not None:
            of_batch = gathered(of_batch).logsumexp(dim=0, keepdim=True)
        logs = (logs - of_batch).log_softmax(dim=1)
    return logs.exp()
