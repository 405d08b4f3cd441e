"""JSON Schema of the sweep file, for completion and checks in an editor.

Generated from the pydantic models and shipped as `sweep.schema.json`; to regenerate it, run
`archsweep schema > search_space/sweep.schema.json`. It accepts every sweep that the loader accepts, short forms
included, but it cannot express all checks of the loader.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from search_space.loading.studies import STUDIES, STUDY_SECTIONS
from search_space.parsing.type_guards import is_dict, is_list_or_tuple
from search_space.plugins.families import contributed
from search_space.schema.attention import ATTENTION_SPECS
from search_space.schema.datasets import BUILTIN_SPECS, LABELLED_IMAGES
from search_space.schema.sweep import NAME_PATTERN, NULLABLE_SECTIONS, Sweep
from search_space.schema.text_datasets import RecallSpec
from search_space.schema.tracking import TRACKER_SPECS
from search_space.settings.paths import OPEN_NODES, known_paths

__all__ = ["SCHEMA_FILE", "json_schema", "schema_text"]

SCHEMA_FILE = files("search_space") / "sweep.schema.json"


def json_schema() -> dict[str, Any]:
    """JSON Schema of the sweep file, draft 2020-12."""
    schema = _any_of(Sweep.model_json_schema(mode="validation"))
    of_plugins = (LABELLED_IMAGES[name] for name in contributed("dataset"))
    named = (*ATTENTION_SPECS.values(), *BUILTIN_SPECS.values(), RecallSpec, *TRACKER_SPECS.values(), *of_plugins)
    for spec in named:
        definition = schema["$defs"][spec.__name__]
        # The tag of a mechanism is not optional, though it has a default.
        definition["required"] = ["name", *(key for key in definition.get("required", ()) if key != "name")]
    schema["$defs"]["Parameter"] = schema["properties"]["space"].pop("additionalProperties")
    parameter = {"$ref": "#/$defs/Parameter"}
    schema["properties"]["space"]["properties"] = dict.fromkeys(sorted(known_paths()), parameter)
    schema["properties"]["space"]["patternProperties"] = {
        f"^{node.replace('.', '[.]')}[.].+$": parameter for node in OPEN_NODES
    }
    schema["properties"]["space"]["additionalProperties"] = {"$ref": "#/$defs/Component"}
    profiles = schema["properties"]["profiles"]
    profiles["additionalProperties"] = profiles.pop("patternProperties")[NAME_PATTERN]
    profiles["propertyNames"]["pattern"] = NAME_PATTERN
    for name in NULLABLE_SECTIONS:
        schema["properties"][name] = _nullable(schema["properties"][name])
    _add_studies(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "archsweep sweep",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def schema_text() -> str:
    """JSON Schema as text, as it is shipped."""
    return json.dumps(json_schema(), indent=2) + "\n"


def _nullable(section: dict[str, Any]) -> dict[str, Any]:
    if "type" in section:
        return {**section, "type": [section["type"], "null"]}
    kind = {key: value for key, value in section.items() if key == "$ref"}
    return {"anyOf": [kind, {"type": "null"}], **{key: value for key, value in section.items() if key not in kind}}


def _add_studies(schema: dict[str, Any]) -> None:
    """Extend the schema by `studies`: a file has a `design`, or `studies` with a `design` each."""
    sections = {name: schema["properties"][name] for name in STUDY_SECTIONS}
    schema["$defs"]["Study"] = {"type": "object", "properties": sections, "additionalProperties": False}
    schema["properties"][STUDIES] = {
        "type": "object",
        "description": "several questions about one baseline; a section of a study replaces that of the file",
        "minProperties": 1,
        "propertyNames": {"pattern": NAME_PATTERN, "maxLength": 100},
        "additionalProperties": {"$ref": "#/$defs/Study"},
    }
    schema["required"] = [name for name in schema["required"] if name != "design"]
    schema["anyOf"] = [{"required": ["design"]}, {"required": [STUDIES]}]


def _any_of(node: Any) -> Any:
    """Replace `oneOf` by `anyOf`, because the branch for timm datasets also matches the builtin ones, and drop
    pydantic's generated titles."""
    if is_dict(node):
        kept = {key: value for key, value in node.items() if not (key == "title" and isinstance(value, str))}
        return {"anyOf" if key == "oneOf" else key: _any_of(value) for key, value in kept.items()}
    return [_any_of(item) for item in node] if is_list_or_tuple(node) else node
