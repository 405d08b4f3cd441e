"""Parts of a network that a training leaves as they are: which parameters `train.freeze` means, and which modules.

As timm's `freeze`, with one difference: a frozen module is in evaluation mode, where timm puts other BatchNorms in its
place. The statistics are frozen alike, the names of the weights stay, and so a frozen part has no dropout and no
stochastic depth: with `backbone`, only a linear classifier on fixed features is trained.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from typing import Any

from timm.models import group_parameters
from torch import nn

from modelzoo.official.fitting import classifier_names
from modelzoo.text.encoder import BertEncoder
from search_space.parsing.errors import Problem, SpecError, did_you_mean, first_of

__all__ = ["freeze_parameters", "frozen_modules", "frozen_parameters", "head_parameters"]

_BERT = {"stem": r"^embeddings", "blocks": [(r"^encoder\.layer\.(\d+)", None), (r"^pooler", (99999,))]}


def frozen_parameters(network: nn.Module, part: nn.Module, patterns: Sequence[str]) -> set[str]:
    """Names in `network` of the parameters that the patterns mean.

    Args:
        part: the model of `arch.model` in it.

    Raises:
        SpecError: a pattern means nothing, or nothing is left to train.
    """
    before = _prefix_of(network, part)
    names = [name for name, _ in network.named_parameters()]
    found: set[str] = set()
    problems = []
    for pattern in patterns:
        meant = _meant(pattern, names, before, part)
        if isinstance(meant, Problem):
            problems.append(meant)
        else:
            found |= meant
    if not problems and found and len(found) == len(names):
        text = f"{', '.join(patterns)} freezes all {len(names)} parameters of the network"
        problems = [Problem(text, path="train.freeze", hint="leave the classifier or some blocks to be trained")]
    if problems:
        raise SpecError(problems)
    return found


def freeze_parameters(network: nn.Module, part: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Freeze the parameters that the patterns mean.

    Returns:
        How much is trained, a phrase; empty without patterns.

    Raises:
        SpecError: as `frozen_parameters`.
    """
    if not patterns:
        return []
    frozen = frozen_parameters(network, part, patterns)
    total = trained = 0
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name not in frozen)
        total += parameter.numel()
        trained += parameter.numel() * (name not in frozen)
    shown = " + ".join(patterns)
    return [f"frozen: {shown}; {trained / 1e6:.3g} of {total / 1e6:.3g} million parameters are trained"]


def frozen_modules(network: nn.Module, part: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Module]:
    """Modules that stay in evaluation mode, by their names in `part` (outside of it, in `network`): those of which all
    parameters are frozen, and with `backbone` all of `part` but its classifier."""
    if not patterns:
        return {}
    frozen = frozen_parameters(network, part, patterns)
    before = _prefix_of(network, part)
    found: dict[str, nn.Module] = {}
    for name, module in network.named_modules():
        own = [f"{name}.{each}" if name else each for each, _ in module.named_parameters()]
        is_frozen = bool(own) and frozen.issuperset(own)
        is_of_backbone = "backbone" in patterns and bool(name) and f"{name}.".startswith(before)
        inner = name.removeprefix(before)
        if is_frozen or (is_of_backbone and not own and not _is_of_head(inner, part)):
            found[inner] = module
    return found


def head_parameters(network: nn.Module, part: nn.Module) -> set[str]:
    """Names of the parameters of the classifier, or of a task's heads."""
    before = _prefix_of(network, part)
    names = (name for name, _ in network.named_parameters())
    return {name for name in names if not name.startswith(before) or _is_of_head(name.removeprefix(before), part)}


def _meant(pattern: str, names: Sequence[str], before: str, part: nn.Module) -> set[str] | Problem:
    inside = {name.removeprefix(before): name for name in names if name.startswith(before)}
    if pattern == "backbone":
        return {name for inner, name in inside.items() if not _is_of_head(inner, part)}
    first = re.fullmatch(r"first:(\d+)", pattern)
    if pattern == "embed" or first:
        groups = _groups(part)
        if groups is None:
            hint = "write patterns of parameter names, for example blocks.0.*"
            return Problem(f"timm has no groups of {type(part).__name__}", path="train.freeze", hint=hint)
        last = 0 if first is None else int(first[1])
        # Where there is a classifier, it is the last group.
        num_blocks = max(number for inner, number in groups.items() if not _is_of_head(inner, part))
        if last > num_blocks or (first and not last):
            text = f"{pattern!r} asks for {last} blocks, but there are {num_blocks}"
            return Problem(text, path="train.freeze", hint=f"write first:1 to first:{num_blocks}, embed or backbone")
        return {name for inner, name in inside.items() if groups.get(inner, num_blocks + 1) <= last}
    found = {name for inner, name in inside.items() if fnmatch.fnmatchcase(inner, pattern)}
    found |= set(fnmatch.filter(names, pattern))
    if not found:
        text = f"{pattern!r} is the name of no parameter"
        close = did_you_mean(pattern, [*inside, "backbone", "embed"]).partition("Did you mean")
        hint = f"{''.join(close[1:])}  " if close[1] else ""
        hint += f"names are such as {first_of(list(inside), 4)}; * is any text; backbone, embed and first:K mean groups"
        return Problem(text, path="train.freeze", hint=hint)
    return found


def _groups(part: nn.Module) -> dict[str, int] | None:
    """Number of the group of each parameter by timm's rules: 0 are the embeddings, then the blocks."""
    matcher: Any = _BERT if isinstance(part, BertEncoder) else None
    if matcher is None:
        rules = getattr(part, "group_matcher", None)
        if rules is None:
            return None
        matcher = rules(coarse=False)
    return group_parameters(part, matcher, reverse=True)


def _prefix_of(network: nn.Module, part: nn.Module) -> str:
    name = next(name for name, module in network.named_modules() if module is part)
    return f"{name}." if name else ""


def _is_of_head(name: str, part: nn.Module) -> bool:
    heads: Iterable[str] = (*classifier_names(part), "head_drop")
    return any(f"{name}.".startswith(f"{head}.") for head in heads)
