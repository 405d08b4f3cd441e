"""Files of plug-ins, and a process in which nothing of them stays."""

from __future__ import annotations

import sys
import textwrap

import pytest

from search_space.plugins import families, plugin

GATED = """
    from archsweep.testing import Slot, TokenAttention

    class Gated(TokenAttention):
        \"\"\"Gated softmax.

        Args:
            bias: first value of the gates.
        \"\"\"
        def __init__(self, slot: Slot, *, bias: float = 1.0) -> None:
            super().__init__(slot)
            self.bias = bias

    PLUGINS = {"attention": {"gated": Gated}}
"""


@pytest.fixture(autouse=True)
def fresh():
    """Plug-ins of a test are gone at its end; there is no public way, because a process never needs one."""
    loaded, path, modules = dict(plugin.LOADED), list(sys.meta_path), set(sys.modules)
    tables = {family: dict(families.contributed(family)) for family in families.FAMILIES}
    yield
    plugin.LOADED.clear()
    plugin.LOADED.update(loaded)
    sys.meta_path[:] = path
    for family, members in tables.items():
        families.contributed(family).clear()
        families.contributed(family).update(members)
    for name in set(sys.modules) - modules:
        if not name.startswith(("archsweep", "modelzoo", "search_space", "torch", "timm", "numpy")):
            del sys.modules[name]
    families.tell_readers()


@pytest.fixture
def gated():
    """Text of a plug-in with the mechanism `gated`."""
    return textwrap.dedent(GATED)


@pytest.fixture
def write(tmp_path):
    """Writes a file below `tmp_path` and returns its path."""

    def write_(name, text=GATED):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write_
