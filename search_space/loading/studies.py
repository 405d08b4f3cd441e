"""Studies of a sweep file: several questions about one baseline, each of which becomes a sweep of its own.

A section of a study replaces that section of the file; profiles are shared, and of the baseline what a study does not
write itself: its `baseline` may have another `task` or `train`. The sweep of a study is named `<sweep>-<study>`, so it
has its own run directory. Trials that two studies share are trained once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from search_space.parsing.errors import Problem, SpecError, did_you_mean
from search_space.parsing.yaml_source import Node
from search_space.schema.sweep import NAME_PATTERN, Sweep

__all__ = ["STUDIES", "STUDY_SECTIONS", "choose_study", "split_studies"]

STUDIES = "studies"
STUDY_SECTIONS = sorted(set(Sweep.model_fields) - {"name", "plugins", "profiles"})


def split_studies(root: Node) -> tuple[dict[str, Node], list[Problem]]:
    """Trees of the sweeps by study name, and the problems of the section; without `studies`, the whole tree under
    ''."""
    if not isinstance(root.value, dict) or STUDIES not in root.value:
        return {"": root}, []
    section = root.value[STUDIES]
    if not isinstance(section.value, dict) or not section.value:
        mark = section.mark
        hint = "studies: {depth: {space: {...}, design: one_factor}, heads: {...}}"
        raise SpecError(Problem("must be a mapping of studies", mark.where, STUDIES, hint, mark.excerpt))
    rest = {key: node for key, node in root.value.items() if key != STUDIES}
    found: dict[str, Node] = {}
    problems: list[Problem] = []
    for name, study in section.value.items():
        problems += _problems(section, name, study)
        sections = study.value if isinstance(study.value, dict) else {}
        known = {key: node for key, node in sections.items() if key in STUDY_SECTIONS}
        keys = {**root.keys, **{key: study.keys[key] for key in known}}
        merged = {**rest, **known}
        if "baseline" in known and "baseline" in rest:
            merged["baseline"] = _laid_over(rest["baseline"], known["baseline"])
        sweep_name = rest.get("name")
        if sweep_name is not None and isinstance(sweep_name.value, str) and re.fullmatch(NAME_PATTERN, name):
            merged["name"] = Node(f"{sweep_name.value}-{name}", sweep_name.mark)
        found[name] = Node(merged, study.mark, keys)
    return found, problems


def choose_study(names: list[str], study: str | None) -> list[str]:
    """Names of the studies that `--study` selects; all without it.

    Raises:
        SpecError: the file has no such study.
    """
    if study is None:
        return names
    if study not in names:
        hint = did_you_mean(study, names) if names != [""] else "the sweep has no `studies`"
        raise SpecError(Problem(f"unknown study {study!r}", where=f"--study {study}", hint=hint))
    return [study]


def _laid_over(shared: Node, own: Node) -> Node:
    """The sections of a study's baseline in place of those of the file's."""
    if not isinstance(shared.value, dict) or not isinstance(own.value, dict):
        return own
    return Node({**shared.value, **own.value}, own.mark, {**shared.keys, **own.keys})


def _problems(section: Node, name: str, study: Node) -> Iterator[Problem]:
    mark, path = section.keys[name], f"{STUDIES}.{name}"
    if not re.fullmatch(NAME_PATTERN, name):
        message = f"a study cannot be named {name!r}"
        yield Problem(message, mark.where, path, "letters, digits, `-`, `_` and `.`: it names a folder", mark.excerpt)
    if not isinstance(study.value, dict):
        message = "must be a mapping of sections"
        yield Problem(message, study.mark.where, path, "{space: {...}, design: one_factor}", study.mark.excerpt)
        return
    for key in study.value:
        if key not in STUDY_SECTIONS:
            mark = study.keys[key]
            hint = did_you_mean(key, STUDY_SECTIONS)
            if key in ("profiles", "name"):
                hint = f"`{key}` is shared by all studies: write it at the top of the file"
            yield Problem(f"unknown key {key!r} in a study", mark.where, f"{path}.{key}", hint, mark.excerpt)
