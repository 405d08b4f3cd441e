"""Parameter groups of a model inside another: timm's rules for layer-wise learning rates, for longer names.

timm's rules are patterns of parameter names, `^blocks\\.(\\d+)`, or a function of the name. In a segmentation network
the names begin with `backbone.model.`; without this, timm would guess the groups and give the backbone other rates than
those of its classifier. Parameters that no rule names, such as those of the heads, belong to the last group.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["matcher_with_prefix"]

_ANCHOR = re.compile(r"(?<![\[\\])\^")  # neither the complement of a set of characters nor a literal one
Matcher = Mapping[str, Any] | Callable[[str], Any]


def matcher_with_prefix(matcher: Matcher, prefix: str) -> dict[str, Any] | Callable[[str], Any]:
    """The same rules for names that begin with `prefix`.

    `{"stem": "^conv|pos"}` with the prefix `model.` is `{"stem": "model\\.(?:conv|pos)"}`.
    """
    if callable(matcher):
        # The last group of timm's functions is that of every name they do not know.
        return lambda name: matcher(name.removeprefix(prefix)) if name.startswith(prefix) else (math.inf,)
    return {group: _rules(rules, prefix) for group, rules in matcher.items()}


def _rules(rules: Any, prefix: str) -> Any:
    if rules is None:
        return None
    if isinstance(rules, str):
        # timm matches from the beginning of a name, so the anchors say nothing.
        return f"{re.escape(prefix)}(?:{_ANCHOR.sub('', rules)})"
    return [(_rules(pattern, prefix), suffix) for pattern, suffix in rules]
