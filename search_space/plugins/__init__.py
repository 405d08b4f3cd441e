"""Plug-ins: attention mechanisms, models, datasets, metrics, tasks, designs, ... from outside of archsweep.

A plug-in is a Python file, a package folder, or an installed package with an entry point. It is loaded only where the
caller has chosen it (`--plugin`, the user's configuration) or installed it; a sweep file names it and executes nothing.
"""

from __future__ import annotations

from search_space.plugins.families import FAMILIES, contributed, extended
from search_space.plugins.loading import load_installed, load_plugin, load_shipped, loaded_plugins, shipped_plugins
from search_space.plugins.plugin import Plugin, plugin_of

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
