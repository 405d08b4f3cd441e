"""Names of a state dict without what wrappers put before them: DDP, torch.compile, Lightning, DINO, detectors.

No list of prefixes: whatever is before most of a model's names is one (`module.`, `_orig_mod.`, `model.`,
`backbone.`, `teacher.backbone.`, `base_encoder.`). Where two are before as many names, the averaged weights are taken,
as of a file that holds them beside the plain ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from torch import Tensor

__all__ = ["without_prefixes"]

_WITHIN = ("_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module.")
"""Put anywhere into a name: by torch.compile of a part, by activation checkpointing, by FSDP."""
_AVERAGED = ("teacher", "ema", "momentum")


def without_prefixes(state: Mapping[str, Tensor], names: Collection[str]) -> tuple[dict[str, Tensor], str]:
    """The state under the names of a model, and the prefix that was removed (empty if none).

    Tensors without the prefix keep their names, unless a tensor with it has that name.

    Args:
        names: of the model's tensors.
    """
    found = dict(state)
    for part in _WITHIN:
        found = {name.replace(part, ""): tensor for name, tensor in found.items()}
    wanted, before = frozenset(names), Counter[str]()
    for name in found:
        pieces = name.split(".")
        for index in range(len(pieces)):
            if ".".join(pieces[index:]) in wanted:
                before["".join(f"{piece}." for piece in pieces[:index])] += 1
    prefix = max(before, key=lambda each: (before[each], _is_averaged(each), -len(each), each), default="")
    if before[prefix] <= before[""]:
        return found, ""
    inside = {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}
    outside = {name: tensor for name, tensor in found.items() if not name.startswith(prefix)}
    return {**outside, **inside}, prefix


def _is_averaged(prefix: str) -> bool:
    return any(word in prefix.lower() for word in _AVERAGED)
