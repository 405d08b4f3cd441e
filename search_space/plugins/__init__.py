"""Plug-ins: attention mechanisms, models, datasets, metrics, tasks, designs, ... from outside of archsweep.

A plug-in is a Python file, a package folder, or an installed package with an entry point. It is loaded only where the
caller has chosen it (`--plugin`, the user's configuration) or installed it; a sweep file names it and executes nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_space.plugins.families import FAMILIES, contributed, extended
    from search_space.plugins.loading import load_installed, load_plugin, load_shipped, loaded_plugins, shipped_plugins
    from search_space.plugins.plugin import Plugin, plugin_of

# On use: the tables of the schema are read with every sweep, a plug-in is loaded with few.
_MODULES = {
    "FAMILIES": "families",
    "Plugin": "plugin",
    "contributed": "families",
    "extended": "families",
    "load_installed": "loading",
    "load_plugin": "loading",
    "load_shipped": "loading",
    "loaded_plugins": "loading",
    "plugin_of": "plugin",
    "shipped_plugins": "loading",
}

__all__ = [
    "FAMILIES",
    "Plugin",
    "contributed",
    "extended",
    "load_installed",
    "load_plugin",
    "load_shipped",
    "loaded_plugins",
    "plugin_of",
    "shipped_plugins",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'search_space.plugins' has no attribute {name!r}")
    return getattr(importlib.import_module(f"search_space.plugins.{_MODULES[name]}"), name)
