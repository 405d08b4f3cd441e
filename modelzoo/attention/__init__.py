"""Attention mechanisms: one file each, and the table of their names.

`search_space.schema.attention.ATTENTION_SPECS` has the same names and options; a contract test keeps both consistent.
Mechanisms of plug-ins are in both as soon as the plug-in is loaded.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from modelzoo.attention.contract import Slot, TokenAttention
from modelzoo.attention.groupmix import GroupMixAttention
from modelzoo.attention.reattention import Reattention
from modelzoo.attention.refiner import RefinedAttention
from modelzoo.attention.softmax import SoftmaxAttention
from search_space.parsing.errors import Problem, SpecError
from search_space.plugins.families import contributed, extended, on_change
from search_space.plugins.loading import loaded_plugins

__all__ = ["ATTENTION", "Slot", "TokenAttention"]

ATTENTION: Mapping[str, type[TokenAttention]] = extended(
    "attention",
    {
        "groupmix": GroupMixAttention,
        "reattention": Reattention,
        "refiner": RefinedAttention,
        "softmax": SoftmaxAttention,
    },
)


def _check_plugins() -> None:
    """Raises SpecError where a plug-in gives something else than a mechanism."""
    wrong = [
        name
        for name, made in contributed("attention").items()
        if not (inspect.isclass(made) and issubclass(made, TokenAttention))
    ]
    origins = {name: plugin.origin for plugin in loaded_plugins() for name in plugin.contributes.get("attention", ())}
    hint = "class MyAttention(archsweep.testing.TokenAttention)"
    if wrong:
        text = "the attention {!r} is no class on TokenAttention"
        raise SpecError([Problem(text.format(name), where=origins.get(name, ""), hint=hint) for name in wrong])


_check_plugins()
on_change(_check_plugins)
