"""Profiles and overrides (`--profile NAME`, `--set path=value`), applied to the tree of a sweep file before validation.

They modify the tree instead of the parsed values, so that a problem is located where its value was written: in the
profile or on the command line. `null` for an option that cannot be null takes back what the file wrote.
"""

from __future__ import annotations

from collections.abc import Iterable

from search_space.parsing.errors import Problem, SpecError, did_you_mean
from search_space.parsing.yaml_source import Mark, Node, read_text
from search_space.schema.sweep import Sweep
from search_space.settings.paths import SHORT_FORMS, default_name, is_path, leaf_paths, nullable_paths, path_hint, split

__all__ = ["apply_override", "apply_profile", "profile_names"]

_ROOTS = ("arch", "task", "train")
_SECTIONS = sorted(set(Sweep.model_fields) - {"baseline", "profiles"})


def profile_names(root: Node) -> list[str]:
    """Names of all profiles of a sweep file, valid or not."""
    profiles = root.value.get("profiles") if isinstance(root.value, dict) else None
    return list(profiles.value) if profiles is not None and isinstance(profiles.value, dict) else []


def apply_profile(root: Node, name: str) -> tuple[Node, list[Problem]]:
    """Apply a profile to the tree; also return the problems of the profile's keys."""
    if name not in profile_names(root):
        known = profile_names(root)
        hint = did_you_mean(name, known) if known else "the sweep declares no profiles"
        raise SpecError(Problem(f"unknown profile {name!r}", where=f"--profile {name}", hint=hint))
    assert isinstance(root.value, dict)
    profiles = root.value["profiles"]
    assert isinstance(profiles.value, dict)
    profile = profiles.value[name]
    if not isinstance(profile.value, dict):
        return root, []  # reported by the type validation
    problems: list[Problem] = []
    for path, node in profile.value.items():
        keys = _keys(path)
        if isinstance(keys, str):
            mark = profile.keys[path]
            message = f"unknown key {path!r} in a profile"
            problems.append(Problem(message, mark.where, f"profiles.{name}.{path}", keys, mark.excerpt))
        else:
            root = _laid(root, keys, node, profile.keys[path])
    return root, problems


def apply_override(root: Node, override: str) -> tuple[Node, list[Problem]]:
    """Apply `path=value` to the tree; the value is parsed as YAML. Also return its problems."""
    where = f"--set {override}"
    path, equals, text = override.partition("=")
    path = path.strip()
    if not equals or not path or not text.strip():
        problem = Problem("must be path=value", where=where, hint="for example  --set train.epochs=2  (null: no value)")
        raise SpecError(problem)
    keys = _keys(path)
    if isinstance(keys, str):
        return root, [Problem(f"unknown path {path!r}", where=where, hint=keys)]
    node, problems = read_text(text, where, is_file=False)
    return _laid(root, keys, node, node.mark), problems


def _keys(path: str) -> list[str] | str:
    """Keys from the top of the file to `path`, or a hint with the legal paths."""
    path = path.removeprefix("baseline.")
    head, _, rest = path.partition(".")
    if head in _ROOTS:
        return ["baseline", *split(path)] if is_path(path) else path_hint(path)
    if head not in _SECTIONS:
        hint = path_hint(path)
        return hint if hint.startswith("Did you mean") else did_you_mean(path, [*_SECTIONS, *_ROOTS])
    if not rest:
        return [head]
    return [head, rest] if head in ("space", "blocks") else [head, *rest.split(".")]


def _laid(root: Node, keys: list[str], value: Node, mark: Mark) -> Node:
    path = ".".join(keys[1:])
    if keys == ["seeds"]:
        value = _with_written_sources(root, value)
    is_taken_back = value.value is None and keys[0] == "baseline" and path in leaf_paths() - nullable_paths()
    return _without(root, keys) if is_taken_back else _lay(root, keys, value, mark, "")


def _with_written_sources(root: Node, seeds: Node) -> Node:
    """Another number of seeds, which goes on varying what those of the file vary."""
    written = root.value.get("seeds") if isinstance(root.value, dict) else None
    if isinstance(seeds.value, dict) or written is None or not isinstance(written.value, dict):
        return seeds
    if "vary" not in written.value:
        return seeds
    return Node({"values": seeds, "vary": written.value["vary"]}, seeds.mark, {"values": seeds.mark, **written.keys})


def _without(node: Node, keys: list[str]) -> Node:
    """The tree without the value at these keys, if there is one."""
    head, *rest = keys
    if not isinstance(node.value, dict) or head not in node.value:
        return node
    if rest:
        return Node({**node.value, head: _without(node.value[head], rest)}, node.mark, node.keys)
    return Node({key: each for key, each in node.value.items() if key != head}, node.mark, node.keys)


def _lay(node: Node, keys: Iterable[str], value: Node, mark: Mark, prefix: str) -> Node:
    head, *rest = keys
    items = node.value if isinstance(node.value, dict) else {}
    path = f"{prefix}{head}"
    if rest:
        below = items.get(head, Node({}, mark))
        short = path.removeprefix("baseline.")
        if short in SHORT_FORMS and (head not in items or isinstance(below.value, str)):
            written = {key: each.value for key, each in items.items()}
            name = below if isinstance(below.value, str) else Node(default_name(short, written), mark)
            below = Node({"name": name}, below.mark, {"name": name.mark})
        value = _lay(below, rest, value, mark, path + ".")
    # an existing key keeps its location: a problem with the value is shown at the value
    keys_now = {**node.keys, head: node.keys.get(head, mark) if rest else mark}
    return Node({**items, head: value}, node.mark, keys_now)
