"""Ablation studies of vision-transformer architectures. Importing it is light: torch and Ray are imported on use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archsweep import own_packages  # noqa: F401 - first of all: pins the names of our packages

if TYPE_CHECKING:
    from runners.kept_models import load_model

    __version__: str

__all__ = ["__version__", "load_model"]


def __getattr__(name: str) -> Any:
    if name == "load_model":
        from runners.kept_models import load_model  # imports torch

        return load_model
    if name == "__version__":
        from archsweep.version import version  # the metadata of installed packages takes 10 ms to import

        return version()
    raise AttributeError(f"module 'archsweep' has no attribute {name!r}")
