"""Plug-ins: attention mechanisms, models, datasets, metrics, tasks, designs, ... from outside of archsweep.

A plug-in is a Python file, a package folder, or an installed package with an entry point. It is loaded only where the
caller has chosen it (`--plugin`, the user's configuration) or installed it; a sweep file names it and executes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_space.parsing.names_on_use import names_on_use

if TYPE_CHECKING:
    from search_space.plugins.families import FAMILIES, contributed, extended
    from search_space.plugins.loading import (
        installed_names,
        load_installed,
        load_plugin,
        load_shipped,
        loaded_plugins,
        shipped_plugins,
    )
    from search_space.plugins.plugin import Plugin, plugin_of

# On use: the tables of the schema are read with every sweep, a plug-in is loaded with few.
_MODULES = {
    "FAMILIES": "search_space.plugins.families",
    "Plugin": "search_space.plugins.plugin",
    "contributed": "search_space.plugins.families",
    "extended": "search_space.plugins.families",
    "installed_names": "search_space.plugins.loading",
    "load_installed": "search_space.plugins.loading",
    "load_plugin": "search_space.plugins.loading",
    "load_shipped": "search_space.plugins.loading",
    "loaded_plugins": "search_space.plugins.loading",
    "plugin_of": "search_space.plugins.plugin",
    "shipped_plugins": "search_space.plugins.loading",
}

__all__ = [
    "FAMILIES",
    "Plugin",
    "contributed",
    "extended",
    "installed_names",
    "load_installed",
    "load_plugin",
    "load_shipped",
    "loaded_plugins",
    "plugin_of",
    "shipped_plugins",
]


__getattr__ = names_on_use(__name__, _MODULES)
