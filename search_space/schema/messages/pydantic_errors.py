"""Readable messages for pydantic's validation errors: the value found, the legal values, the closest match.

pydantic's error locations also contain union branches (`refiner`, `list`), which do not exist in the file. `Fault.path`
omits them by following the validated data.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from search_space.parsing.errors import did_you_mean
from search_space.parsing.type_guards import is_list_or_tuple, is_mapping
from search_space.schema.attention import ATTENTION_SPECS, EveryBlocks, FirstBlocks, LastBlocks
from search_space.schema.comparison.match_retune import Match, Retune
from search_space.schema.comparison.seeds import SeedPlan, Smallest
from search_space.schema.datasets import DATASET_SPECS, LABELLED_IMAGES, TimmDatasetSpec
from search_space.schema.design import DESIGN_SPECS, Design, Row
from search_space.schema.messages.legal_forms import NODE_FORMS, PARAMETER_FORM, Path, form_of, missing_hint
from search_space.schema.parameters import Choice, Component, Range
from search_space.schema.resources import Resources, Rule
from search_space.schema.sweep import (
    Checkpoints,
    Prune,
    Published,
    Search,
    Sweep,
    TableFormat,
)
from search_space.schema.task import TASK_SPECS
from search_space.schema.tasks.command import ProgressSpec, ResultSpec, ResumeSpec
from search_space.schema.text_datasets import TEXT_SPECS
from search_space.schema.tracking import TRACKER_SPECS
from search_space.schema.trial import ArchSpec, Setting, TrainSpec

__all__ = ["Fault", "explain", "quote"]


_NAME_OF_DESIGN = (("design",), ("design", "name"))
_KINDS = {
    **dict.fromkeys(("int_type", "int_from_float", "int_parsing"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    "bool_type": "true or false",
    "string_type": "text",
    **dict.fromkeys(("tuple_type", "list_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a mapping"),
    "none_required": "null",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_PATTERNS = {
    "name": (
        "may only contain letters, digits, `-`, `_` and `.`, and start with a letter or digit",
        "it names the folder of the run",
    ),
    "plugins": ("may only contain letters, digits and `_`, and start with a letter", "the file's name without .py"),
    "function": ("must be MODULE:FUNCTION", "for example  my_train:train"),
    "schema": ("must be MODULE:CLASS", "for example  my_train:Config"),
    "config_file": ("must end in .yaml, .yml or .json", ""),
    "futility": (
        "must be `1.5 SD`, {smallest: 0.3}, strong or none",
        "an effect, in standard deviations of the same-seed differences or in the metric's unit",
    ),
}
"""Option -> what its pattern means, and a hint."""


@dataclass(frozen=True)
class Fault:
    """Validation error of a model, with a readable message. `at_key` marks keys that should not exist."""

    path: Path
    message: str
    hint: str = ""
    at_key: bool = False

    @property
    def dotted(self) -> str:
        return dotted(self.path)


def dotted(path: Path) -> str:
    """Dotted form of a path, with list positions in brackets: `space.arch.depth[1]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def quote(value: Any) -> str:
    """Short YAML-like form of a value, for error messages."""
    if isinstance(value, str):
        shown = repr(value)
    elif is_mapping(value):
        shown = "a mapping with " + (", ".join(repr(key) for key in list(value)[:6]) or "no keys")
    elif is_list_or_tuple(value):
        shown = (
            "an empty list" if not value else f"a list of {len(value)}" if len(str(value)) > 60 else json.dumps(value)
        )
    else:
        shown = json.dumps(value, default=str)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def explain(
    error: ValidationError, model: type[BaseModel], data: Any = None, *, limit: int | None = None
) -> list[Fault]:
    """Faults of a pydantic error, in its order; the alternatives of a union are merged into one fault.

    Args:
        error: The error that `model` raised.
        model: The validating model, for the legal keys of each node.
        data: The validated data; without it, paths contain union branches.
        limit: Number of errors that are explained; default: all.
    """
    merged: dict[tuple[Path, str], list[Fault]] = {}
    for entry in error.errors(include_url=False)[:limit]:
        path = (
            _real_path(entry["loc"], data, is_key=entry["type"] == "missing")
            if data is not None
            else tuple(entry["loc"])
        )
        fault = _fault(dict(entry), path, data)
        merged.setdefault((path, _group(entry["type"])), []).append(fault)
    return [_merge(faults) for faults in merged.values()]


def _group(kind: str) -> str:
    return "type" if kind in _KINDS else kind


def _merge(faults: list[Fault]) -> Fault:
    if len(faults) == 1:
        return faults[0]
    kinds = list(dict.fromkeys(match[1] for f in faults if (match := re.match(r"must be (.*?), but got", f.message))))
    got = faults[0].message.split(", but got")[-1]
    if not kinds:
        return faults[0]
    legal = " or ".join(filter(None, (", ".join(kinds[:-1]), kinds[-1])))
    return Fault(faults[0].path, f"must be {legal}, but got{got}", faults[0].hint)


def _real_path(loc: tuple[str | int, ...], data: Any, *, is_key: bool) -> Path:
    """Path in the data of a pydantic location: without the names of union branches and wrapped values.

    Args:
        is_key: The last part is a key, although the data does not contain it.
    """
    path: list[str | int] = []
    here: Any = data
    for index, part in enumerate(loc):
        is_last = index == len(loc) - 1
        if is_mapping(here):
            if part in here:
                path.append(part)
                here = here[part]
            elif is_last and is_key:
                path.append(part)
        elif is_list_or_tuple(here) and isinstance(part, int) and part < len(here):
            path.append(part)
            here = here[part]
    return tuple(path)


def _fault(entry: dict[str, Any], path: Path, data: Any) -> Fault:
    kind, got, context = entry["type"], entry.get("input"), entry.get("ctx", {})
    if kind == "missing" and isinstance(_at(data, path), str):  # a plain name, where options are required
        key = entry["loc"][-1]
        return Fault(path, f"needs {key}", f"write {{name: {_at(data, path)}, {key}: VALUE}}")
    if kind == "missing":
        return Fault(path, "is missing", _slip(path, data) or missing_hint(path))
    if kind == "extra_forbidden":
        return _unknown_key(entry["loc"], path)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _wrong_form(path, got, isinstance(_at(data, path), Mapping))
    if kind in ("literal_error", "enum"):
        known = re.findall(r"'([^']*)'|(\b\d+\b)", str(context.get("expected", "")))
        names = [text or number for text, number in known]
        if path in _NAME_OF_DESIGN:
            names = list(DESIGN_SPECS)
        message = f"unknown {'design' if path in _NAME_OF_DESIGN else 'value'} {quote(got)}"
        return Fault(path, message, did_you_mean(str(got), names))
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return Fault(path, f"must be {words} {_number(context[key])}, but got {quote(got)}")
    if kind in _KINDS:
        form = form_of(path)
        return Fault(path, f"must be {form or _KINDS[kind]}, but got {quote(got)}", _type_hint(kind, got))
    if kind in ("string_pattern_mismatch", "string_too_long") and entry["loc"][-1] == "[key]":
        message = f"a profile cannot be named {quote(got)}"
        hint = "at most 100 letters, digits, `-`, `_` and `.`, the first a letter or digit: it names a folder"
        return Fault(path, message, hint, at_key=True)
    if kind == "string_pattern_mismatch":
        option = str(path[-1] if isinstance(path[-1], str) else path[-2])
        legal, why = _PATTERNS.get(option, ("must fit " + context["pattern"], ""))
        return Fault(path, f"{legal}, but got {quote(got)}", why)
    if kind == "string_too_short" or (kind == "too_short" and got == ""):
        return Fault(path, "must not be empty")
    if kind == "string_too_long":
        return Fault(path, f"must have at most {context['max_length']} characters, but has {len(str(got))}")
    if kind == "too_short":
        least = context["min_length"]
        return Fault(path, f"needs at least {least} value{'' if least == 1 else 's'}, but got {quote(got)}")
    if kind == "too_long":
        length = context["actual_length"] or len(got or ())
        return Fault(path, f"may have at most {context['max_length']} values, but has {length}")
    message = str(entry["msg"]).removeprefix("Value error, ")
    # Relations of a mapping name the values that they are about, as some checks of a text quote it.
    is_said = kind == "value_error" and (isinstance(got, Mapping) or repr(got) in message)
    return Fault(path, message if is_said else f"{message}, but got {quote(got)}")


def _number(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _type_hint(kind: str, got: Any) -> str:
    if kind.startswith("int") and isinstance(got, float) and got.is_integer():
        return f"write {int(got)}"
    if kind.startswith(("int", "float")) and isinstance(got, str) and re.fullmatch(r"[-+.\deE]+", got):
        return "remove the quotes"
    if kind == "bool_type" and isinstance(got, str) and got.lower() in ("yes", "no", "on", "off"):
        return f"YAML 1.2 reads {got!r} as text; write {'true' if got.lower() in ('yes', 'on') else 'false'}"
    if kind == "string_type" and not isinstance(got, list | tuple | Mapping):
        return "quote it if it is meant as text"
    return ""


def _at(data: Any, path: Path) -> Any:
    for part in path:
        if is_mapping(data):
            data = data.get(part)
        else:
            data = data[part] if is_list_or_tuple(data) and isinstance(part, int) and part < len(data) else None
    return data


def _slip(path: Path, data: Any) -> str:
    """Hint at a sibling key that is probably a misspelling of the missing one."""
    owner = _at(data, path[:-1])
    close = difflib.get_close_matches(str(path[-1]), list(owner), 1, 0.75) if is_mapping(owner) else []
    return f"{close[0]!r} looks like it: rename it to {path[-1]!r}" if close else ""


def _wrong_form(path: Path, got: Any, has_keys: bool) -> Fault:
    form = form_of(path)
    if (path and path[-1] == "attention") or form == NODE_FORMS["arch.attention"]:
        name = got.get("name") if is_mapping(got) else got
        if is_mapping(got) and "name" not in got:
            return Fault(path, "the attention has no `name`", did_you_mean("", ATTENTION_SPECS))
        if isinstance(name, str):
            where = (*path, "name") if has_keys and path[-1] == "attention" else path
            return Fault(where, f"unknown attention {name!r}", did_you_mean(name, ATTENTION_SPECS))
    if path and path[-1] == "task" and is_mapping(got):
        name = got.get("name")
        return Fault((*path, "name"), f"unknown task {quote(name)}", did_you_mean(str(name), TASK_SPECS))
    if path and path[0] == "track":
        return _wrong_tracker(path, got)
    if path and path[0] == "space":
        form = form or PARAMETER_FORM
        return Fault(path, f"cannot be read as values of a parameter: {quote(got)}", f"write {form}")
    return Fault(path, f"cannot be {quote(got)}", f"write {form}" if form else "")


def _wrong_tracker(path: Path, got: Any) -> Fault:
    if is_mapping(got) and "name" not in got:
        return Fault(path, "the tracker has no `name`", did_you_mean("", TRACKER_SPECS))
    name = got.get("name") if is_mapping(got) else got
    return Fault(path, f"unknown tracker {quote(name)}", did_you_mean(str(name), TRACKER_SPECS))


def _unknown_key(loc: tuple[str | int, ...], path: Path) -> Fault:
    key = str(path[-1]) if path else ""
    owner, legal = _owner(loc)
    hint = did_you_mean(key, legal) if legal else f"{owner} has no options"
    if owner.startswith("tracker") and re.search("key|token|password", key):
        hint = "the sweep file is copied into every run directory: keep secrets out of it and in the environment"
    return Fault(path, f"unknown key {key!r} in {owner}", hint, at_key=True)


_SECTIONS: dict[str, type[BaseModel]] = {
    "arch": ArchSpec,
    "train": TrainSpec,
    "baseline": Setting,
    "design": Design,
    "prune": Prune,
    "search": Search,
    "resources": Resources,
    "per_variant": Rule,
    "checkpoints": Checkpoints,
    "match": Match,
    "retune": Retune,
    "published": Published,
    "table": TableFormat,
    "range": Range,
    "component": Component,
    "list": Choice,
    "last k": LastBlocks,
    "first k": FirstBlocks,
    "every k": EveryBlocks,
    "rows": Row,
    "metrics": ResultSpec,
    "progress": ProgressSpec,
    "resume": ResumeSpec,
    "seeds": SeedPlan,
    "effect": Smallest,
}


def _owner(loc: tuple[str | int, ...]) -> tuple[str, list[str]]:
    """Readable name of the node that contains an unknown key, and its legal keys."""
    names = [part for part in loc[:-1] if isinstance(part, str)]
    if len(names) >= 2 and names[-2] == "attention" and names[-1] in ATTENTION_SPECS:
        return f"attention {names[-1]!r}", [name for name in ATTENTION_SPECS[names[-1]].model_fields if name != "name"]
    if len(names) >= 2 and names[-2] == "design" and names[-1] in DESIGN_SPECS:
        model = DESIGN_SPECS[names[-1]]
        return f"design {names[-1]!r}", [name for name in model.model_fields if name not in Design.model_fields]
    if len(names) >= 2 and names[-2] == "track" and names[-1] in TRACKER_SPECS:
        return f"tracker {names[-1]!r}", [name for name in TRACKER_SPECS[names[-1]].model_fields if name != "name"]
    if len(names) >= 2 and names[-2] == "task" and names[-1] in TASK_SPECS:
        return f"task {names[-1]!r}", [info.alias or name for name, info in TASK_SPECS[names[-1]].model_fields.items()]
    if len(names) >= 2 and names[-2] == "dataset":
        model = {**DATASET_SPECS, **TEXT_SPECS, **LABELLED_IMAGES}.get(names[-1], TimmDatasetSpec)
        kinds = {
            "timm": "a dataset of timm",
            "masks": "a folder of label maps",
            "glue": "a task of GLUE",
            "text": "a folder of tables of text",
        }
        return kinds.get(names[-1], f"dataset {names[-1]!r}"), [name for name in model.model_fields if name != "name"]
    if not names:
        return "the sweep", [*Sweep.model_fields, "studies"] if loc and loc[0] not in ("arch", "task", "train") else []
    model = _SECTIONS.get(names[-1], Setting)
    words = {"range": "a range", "component": "a component", "list": "a choice", "effect": "`futility`"}
    owner = "`blocks`" if names[-1].endswith(" k") else words.get(names[-1], f"`{names[-1]}`")
    return owner, [info.alias or name for name, info in model.model_fields.items()]
