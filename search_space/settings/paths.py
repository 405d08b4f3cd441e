"""Dotted paths into a setting (`arch.attention.expansion`): which ones exist, reading and replacing their values.

A new value replaces the whole node at its path. The schema defines which paths exist: a path is legal if some choice of
mechanism and dataset has it, so `arch.attention.expansion` exists although softmax attention has no such option.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from search_space.parsing.type_guards import is_dict, is_mapping
from search_space.plugins.families import on_change
from search_space.plugins.open_union import OpenUnion
from search_space.schema.attention import RELEASED_KERNELS, GroupMixSpec
from search_space.schema.task import TASK_SPECS, ClassificationSpec, ForeignSpec, TaskSpec
from search_space.schema.trial import Setting

__all__ = [
    "MISSING",
    "SHORT_FORMS",
    "default_name",
    "is_node",
    "is_path",
    "known_paths",
    "lay",
    "lay_together",
    "leaf_paths",
    "leaves",
    "nullable_paths",
    "outer_first",
    "overlap",
    "path_hint",
    "split",
    "value_at",
    "value_in_effect",
]

SHORT_FORMS = ("arch.attention", "task.dataset")
"""Nodes that may be written as a plain name."""

OPEN_NODES = ("arch.options", "train.opt_kwargs", "task.config")
"""Nodes below which any key is legal."""

_NESTED = ("task.config",)  # dots lead inside


_OF_OWN_TRAINING = frozenset(f"task.{name}" for name in ForeignSpec.model_fields if name not in TaskSpec.model_fields)


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
"""Returned by `value_at` if a setting has no such path."""


@cache
def known_paths() -> frozenset[str]:
    """All paths of settings, nodes and leaves, except for the keys of open nodes."""
    return frozenset(path for path, _ in _fields(Setting, ""))


@cache
def leaf_paths() -> frozenset[str]:
    """Paths of leaves, that is of single values or lists."""
    return frozenset(path for path in known_paths() if not is_node(path))


@cache
def nullable_paths() -> frozenset[str]:
    """Paths whose value may be `null`, in one of the kinds that have them."""
    return frozenset(path for path, field in _fields(Setting, "") if type(None) in get_args(field.annotation))


on_change(known_paths.cache_clear)
on_change(nullable_paths.cache_clear)
on_change(leaf_paths.cache_clear)


def is_node(path: str) -> bool:
    """Whether the value at a path can have keys, so that it cannot be compared with a number or text."""
    return path in OPEN_NODES or any(known.startswith(path + ".") for known in known_paths())


def is_path(path: str) -> bool:
    """Whether a path is legal in a sweep."""
    return path in known_paths() or any(
        path.startswith(node + ".") and len(path) > len(node) + 1 for node in OPEN_NODES
    )


def path_hint(path: str) -> str:
    """Hint for an unknown path: known paths with the same last part, else those of the same node with the closest
    match."""
    last = path.rsplit(".", 1)[-1]
    same_end = sorted(known for known in known_paths() if known.endswith("." + last))
    ours = [known for known in same_end if known not in _OF_OWN_TRAINING]
    same_end = ours or same_end
    if same_end:
        return f"Did you mean {' or '.join(repr(known) for known in same_end)}?"
    parent = path
    while parent and not (is_node(parent) and parent in known_paths()):
        parent = parent.rpartition(".")[0]
    prefix = parent + "." if parent else ""
    names = sorted({known[len(prefix) :].split(".")[0] for known in known_paths() if known.startswith(prefix)})
    # Only the last part is compared, because long common prefixes would make all paths similar.
    close = difflib.get_close_matches(last, names, 1, 0.65)
    hint = f"known: {', '.join(prefix + name for name in names)}."
    return f"{hint}  Did you mean {prefix + close[0]!r}?" if close else hint


def leaves(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested mappings by dotted keys: `{optim: {lr: 1}}` has `optim.lr`. An empty mapping is a value."""
    for key, value in tree.items():
        if is_mapping(value) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def overlap(one: str, other: str) -> bool:
    """Whether two paths are equal or one is below the other."""
    return one == other or one.startswith(other + ".") or other.startswith(one + ".")


def default_name(path: str, owner: Mapping[str, Any]) -> str | None:
    """Name of the node of `SHORT_FORMS` at a path where its owner, as written, has none; None for other paths."""
    if path == "arch.attention":
        return "softmax"
    if path != "task.dataset":
        return None
    task = TASK_SPECS.get(str(owner.get("name", "classification")), ClassificationSpec)
    return task.model_fields["dataset"].default.name


def lay(data: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Copy of a written setting with `value` at `path`; plain names along the path become mappings."""
    return _lay(data, split(path), value, "")


def lay_together(data: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy of a written setting with every value at its path, outer nodes first."""
    laid = dict(data)
    for path in outer_first(values):
        laid = lay(laid, path, values[path])
    return laid


def outer_first(paths: Iterable[str]) -> list[str]:
    """Paths in the order in which their values may be laid: a value replaces everything below its path."""
    return sorted(paths, key=lambda path: len(split(path)))


def split(path: str) -> list[str]:
    """Keys of a path; the remainder below `arch.options` and `train.opt_kwargs` is a single key, dots included."""
    for node in OPEN_NODES:
        if path.startswith(node + ".") and node not in _NESTED:
            return [*node.split("."), path[len(node) + 1 :]]
    return path.split(".")


def value_at(setting: BaseModel | Mapping[str, Any], path: str) -> Any:
    """Value of a validated setting, or of one as plain values, at a path, or `MISSING`."""
    here: Any = setting
    for key in split(path):
        if isinstance(here, BaseModel) and key in type(here).model_fields:
            here = getattr(here, key)
        elif is_dict(here) and key in here:
            here = here[key]
        else:
            return MISSING
    return here


def value_in_effect(setting: BaseModel, path: str) -> Any:
    """`value_at` with the released kernels of Group-Mix where none are written, which are the same experiment."""
    found = value_at(setting, path)
    if isinstance(found, GroupMixSpec) and found.kernel_sizes is None:
        return found.model_copy(update={"kernel_sizes": RELEASED_KERNELS})
    return RELEASED_KERNELS if found is None and path == "arch.attention.kernel_sizes" else found


def _lay(data: Mapping[str, Any], keys: list[str], value: Any, prefix: str) -> dict[str, Any]:
    head, *rest = keys
    if not rest:
        return {**data, head: value}
    path = f"{prefix}{head}"
    below = data[head] if head in data else default_name(path, data)
    if isinstance(below, str) and path in SHORT_FORMS:
        below = {"name": below}
    inner: Mapping[str, Any] = below if is_mapping(below) else {}
    return {**data, head: _lay(inner, rest, value, path + ".")}


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for field, info in model.model_fields.items():
        name = info.alias or field
        yield prefix + name, info
        open_members = [model for each in info.metadata if isinstance(each, OpenUnion) for model in each.members()]
        for inner in open_members or _models(info.annotation):
            yield from _fields(inner, f"{prefix}{name}.")


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    origin = get_origin(annotation)
    if origin is Annotated:
        return _models(get_args(annotation)[0])
    if origin in (Literal, dict, tuple):
        return []
    return [model for argument in get_args(annotation) for model in _models(argument)]
