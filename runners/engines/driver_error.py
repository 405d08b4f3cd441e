"""Errors of the driver inside an engine: a full disk is no trial's fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["DriverError"]


class DriverError:
    """Keeps the first exception of the book (a full disk, say): an engine must not take it for a failing trial."""

    def __init__(self) -> None:
        self.caught: BaseException | None = None

    def guard(self, action: Callable[[], Any], otherwise: Any = None) -> Any:
        """The answer of `action`, or `otherwise` from the first error on."""
        if self.caught is not None:
            return otherwise
        try:
            return action()
        except Exception as err:
            self.caught = err
            return otherwise

    def raise_caught(self) -> None:
        """Raises what was kept, if anything."""
        if self.caught is not None:
            raise self.caught
