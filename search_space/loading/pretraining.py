"""Studies that begin with the weights of other studies of their file: whether there are such weights to begin with.

studies:
  pretrain: {checkpoints: {keep: last}, ...}
  finetune: {space: {arch.weights: [null, "study:pretrain/baseline"]}, ...}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from search_space.parsing.errors import Problem, SpecError, did_you_mean, first_of
from search_space.parsing.yaml_source import Node
from search_space.schema.pretrained import CONTINUED, WeightsSource, parse_weights, weights_seed
from search_space.schema.sweep import Sweep
from search_space.variants.variant import variants

__all__ = ["pretraining_problems"]

_MOST_VARIANTS = 1000
"""A space with more is not searched for a name."""


def pretraining_problems(study: str, root: Node, sweep: Sweep, others: Mapping[str, Sweep | None]) -> Iterator[Problem]:
    """What is wrong with the weights of other studies that a study names.

    Args:
        root: tree of the study's sweep.
        others: sweeps of the file by study, in its order; None for one that is itself wrong.
    """
    order = list(others)
    for node, text in _weights_texts(root, is_here=False):
        try:
            source = parse_weights(text)
        except ValueError:
            continue  # said where the value is validated
        if source.kind == "study" and (found := _wrong(study, source, sweep, others, order)):
            message, hint = found
            yield Problem(message, node.mark.where, "arch.weights", hint, node.mark.excerpt)


def _wrong(
    study: str, source: WeightsSource, sweep: Sweep, others: Mapping[str, Sweep | None], order: list[str]
) -> tuple[str, str] | None:
    name = source.place
    if name not in others:
        return f"unknown study {name!r}", did_you_mean(name, order) if any(order) else "the file has no studies"
    if order.index(name) >= order.index(study):
        return f"the study {name!r} is not trained before {study!r}", f"write it above {study!r}: studies run in order"
    first = others[name]
    if first is None:
        return None
    if first.checkpoints.keep == "none":
        return f"the study {name!r} keeps no weights", "add checkpoints: {keep: last} to it"
    wanted = {weights_seed(source, sweep.baseline.train.seeding, seed) for seed in sweep.seeds}
    if missing := sorted(wanted - set(first.seeds)):
        text = f"the study {name!r} has no seed {first_of([str(seed) for seed in missing], 5)}"
        return text, f"its seeds: {first_of([str(seed) for seed in first.seeds], 10)}; `@SEED` names one for all trials"
    known = _names(first)
    if known is not None and source.variant not in (*known, CONTINUED):
        return f"the study {name!r} has no variant {source.variant!r}", did_you_mean(source.variant, known)
    return None


def _names(sweep: Sweep) -> list[str] | None:
    """Names and ids of a study's variants; None where they are not known before it runs."""
    if sweep.search:
        return None
    try:
        found = list(islice(variants(sweep), _MOST_VARIANTS + 1))
    except SpecError:
        return None
    if len(found) > _MOST_VARIANTS or sweep.match:
        return None
    return [name for variant in found for name in (variant.name, variant.variant_id)]


def _weights_texts(node: Node, *, is_here: bool) -> Iterator[tuple[Node, str]]:
    """Texts below `weights` of an `arch`, or below a path that ends with `arch.weights`."""
    if isinstance(node.value, str):
        if is_here:
            yield node, node.value
    elif isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from _weights_texts(child, is_here=is_here or key == "weights" or key.endswith("arch.weights"))
    elif isinstance(node.value, tuple):
        for child in node.value:
            yield from _weights_texts(child, is_here=is_here)
