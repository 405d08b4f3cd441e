"""Health of nodes: one that fails every trial is set aside, because failing fast it would draw the whole sweep.

A broken driver, a full local disk or an old installation fails every trial within seconds, so such a node would draw
one trial after the other while the healthy ones are busy training. A node is set aside once its last trials all
failed, of more than one variant, while another node is not failing like that; the trials it failed run again
elsewhere. A trial that does not find the GPU that Ray reserved for it there is enough by itself, because no variant can
be the cause. If all nodes fail alike, the fault is the sweep's: the last node stays in use.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from results.store.records import TrialRecord

__all__ = ["NodeHealth"]

_STREAK = 3
_FAULT_OF_NODES = "DeviceMissing"
# A diverging or too large model is not the fault of the node.
_FAULTS_OF_VARIANTS = frozenset({"NonFiniteLoss", "OutOfMemory", "Killed"})


@dataclass
class NodeHealth:
    """Results of the trials of each node, by Ray node id."""

    _streaks: dict[str, list[TrialRecord]] = field(default_factory=dict)
    _set_aside: list[str] = field(default_factory=list)

    @property
    def set_aside(self) -> tuple[str, ...]:
        """Nodes that get no further trials, in the order in which they were set aside."""
        return tuple(self._set_aside)

    def record_result(self, node: str, record: TrialRecord, *, alive: frozenset[str]) -> list[TrialRecord]:
        """Record a trial that ended on `node`; returns the records whose trials should run again elsewhere.

        Args:
            alive: the nodes of the cluster at present that can hold the trial.
        """
        if record.status != "failed":
            self._streaks[node] = []
            return []
        if record.failure is not None and record.failure.type in _FAULTS_OF_VARIANTS:
            return []
        streak = self._streaks.setdefault(node, [])
        streak.append(record)
        if node in self._set_aside:  # it had been placed there before
            return [record]
        if not self._is_failing(node) or not any(self._is_usable(other) for other in alive - {node}):
            return []
        self._set_aside.append(node)
        return list(streak)

    def _is_failing(self, node: str) -> bool:
        streak = self._streaks.get(node, [])
        if any(record.failure is not None and record.failure.type == _FAULT_OF_NODES for record in streak):
            return True
        return len(streak) >= _STREAK and len({record.variant_id for record in streak}) > 1

    def _is_usable(self, node: str) -> bool:
        return node not in self._set_aside and not self._is_failing(node)
