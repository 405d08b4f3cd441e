"""Zip design: the first values of all lists together, then the second values, and so on."""

from __future__ import annotations

from collections.abc import Iterator

from search_space.schema.parameters import Component, Range
from search_space.schema.sweep import Sweep
from search_space.settings.candidates import CandidateRow, Issue, PathValue

__all__ = ["Zip"]


class Zip:
    """Design `zip`, for sizes that must change together, such as width and number of heads."""

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        lengths: dict[str, int] = {}
        for key, parameter in sweep.space.items():
            if isinstance(parameter, Component):
                yield Issue(("space", key), "the design 'zip' pairs lists, but this is a component", "write a list")
            elif not isinstance(parameter, Range):
                lengths[key] = len(parameter)
                for index, choice in enumerate(parameter):
                    if choice.with_:
                        message = "a choice of the design 'zip' cannot have parameters of its own"
                        hint = "add them as further lists, or use the design 'factorial'"
                        yield Issue(("space", key, index, "with"), message, hint)
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            yield Issue(("space",), f"the design 'zip' needs lists of equal length, but {shown}")

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        yield CandidateRow()
        columns = [[(key, choice) for choice in sweep.parameter_choices(key)] for key in sweep.space]
        for row in zip(*columns, strict=True):
            yield CandidateRow(tuple(PathValue(key, key, choice.value, choice.name) for key, choice in row))

    def count(self, sweep: Sweep) -> int:
        return 1 + max((len(sweep.parameter_choices(key)) for key in sweep.space), default=0)
