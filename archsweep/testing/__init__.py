"""Contract tests for authors of plug-ins: each raises an AssertionError that says what is wrong, and does nothing else.

    from archsweep.testing import check_attention

    def test_gated():
        check_attention(Gated, options=[{"bias": 0.5}])

archsweep's own members pass the same functions. The base class of a mechanism is here, too, so that a plug-in imports
from one place that stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_space.parsing.names_on_use import names_on_use

if TYPE_CHECKING:
    from archsweep.testing.attention import check_attention
    from archsweep.testing.datasets import check_dataset
    from archsweep.testing.designs import check_design
    from archsweep.testing.exporters import check_exporter
    from archsweep.testing.figures import check_figure
    from archsweep.testing.metrics import check_metric
    from archsweep.testing.models import check_model
    from archsweep.testing.searches import check_pruner, check_sampler
    from archsweep.testing.tasks import check_task
    from modelzoo.attention.contract import Slot, TokenAttention

__all__ = [
    "Slot",
    "TokenAttention",
    "check_attention",
    "check_dataset",
    "check_design",
    "check_exporter",
    "check_figure",
    "check_metric",
    "check_model",
    "check_pruner",
    "check_sampler",
    "check_task",
]

_PLACES = {
    "Slot": "modelzoo.attention.contract",
    "TokenAttention": "modelzoo.attention.contract",
    "check_attention": "archsweep.testing.attention",
    "check_dataset": "archsweep.testing.datasets",
    "check_design": "archsweep.testing.designs",
    "check_exporter": "archsweep.testing.exporters",
    "check_figure": "archsweep.testing.figures",
    "check_metric": "archsweep.testing.metrics",
    "check_model": "archsweep.testing.models",
    "check_pruner": "archsweep.testing.searches",
    "check_sampler": "archsweep.testing.searches",
    "check_task": "archsweep.testing.tasks",
}


# A worker that trains a mechanism needs neither tables nor charts.
__getattr__ = names_on_use(__name__, _PLACES)
