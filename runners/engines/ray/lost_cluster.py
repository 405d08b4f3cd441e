"""The end of a run whose cluster is gone: Tune itself would wait without end for a node to train on.

Ray starts one process (the raylet) by which this machine is a node. If it is killed, by hand or for want of memory, a
private cluster has no node any more, and nothing brings one back. A cluster at an address may get new nodes, so there
Tune's patience is right.
"""

from __future__ import annotations

import time
from typing import Any

from ray import tune

from runners.engines.ray.placement import living_nodes
from search_space import Problem, SpecError

__all__ = ["LostCluster"]

_LOOK_EVERY_SECONDS = 2.0
_PATIENCE_SECONDS = 10.0


class LostCluster(tune.Stopper):
    """Stopper that ends the run of a private cluster once it has had no living node for some seconds.

    Not a callback: for a run with callbacks Tune imports MLflow and W&B, where they are installed, to count which of
    them are theirs, and that takes two seconds.
    """

    def __init__(self) -> None:
        self._looked = time.monotonic()
        self._lost_since: float | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no trial by itself."""
        return False

    def stop_all(self) -> bool:
        """Look at the nodes, at every step of Tune.

        Raises:
            SpecError: there is none any more.
        """
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY_SECONDS:
            return False
        self._looked = now
        if living_nodes():
            self._lost_since = None
            return False
        if self._lost_since is None:
            self._lost_since = now
        if now - self._lost_since >= _PATIENCE_SECONDS:
            text = "the Ray process of this machine has ended (killed, or out of memory?): nothing can train any more"
            hint = "the same command goes on with what is in the ledger; --engine in-process trains without Ray"
            raise SpecError(Problem(text, where="--engine ray", hint=hint))
        return False
