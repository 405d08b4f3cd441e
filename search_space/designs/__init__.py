"""Experimental designs: which combinations of parameter values become variants. One file each, one contract
(`DesignRule`).

To add a design: one file here, one line in `DESIGNS`, its name in `search_space.schema.design.DesignName`.
"""

from __future__ import annotations

from search_space.designs.add_one_in import AddOneIn
from search_space.designs.cumulative import Cumulative
from search_space.designs.factorial import Factorial
from search_space.designs.fractional import Fractional
from search_space.designs.leave_one_out import LeaveOneOut
from search_space.designs.list import List
from search_space.designs.of_plugins import PluginRule
from search_space.designs.one_factor import OneFactor
from search_space.designs.path import GreedyPath
from search_space.designs.search import SearchDesign
from search_space.designs.shapley import Shapley
from search_space.designs.zip import Zip
from search_space.plugins.families import contributed
from search_space.schema.design import Design
from search_space.settings.candidates import DesignRule

__all__ = ["DESIGNS", "rule_of"]

DESIGNS: dict[str, DesignRule] = {
    "add_one_in": AddOneIn(),
    "cumulative": Cumulative(),
    "factorial": Factorial(),
    "fractional": Fractional(),
    "leave_one_out": LeaveOneOut(),
    "list": List(),
    "one_factor": OneFactor(),
    "path": GreedyPath(),
    "search": SearchDesign(),
    "shapley": Shapley(),
    "zip": Zip(),
}


def rule_of(design: Design) -> DesignRule:
    """The rule of a sweep's design: one of ours, or that of a plug-in."""
    if design.name in contributed("design"):
        return PluginRule(design)
    return DESIGNS[design.name]
