"""HTML from jinja2 templates, in which every value is escaped as text unless it is marked as markup.

Autoescaping is on, and printed values pass `text` first: names from sweeps and records are one line of visible
characters. Only fragments that `render` returned, and the styles and scripts of this package, go into a page unchanged.
"""

from __future__ import annotations

import base64
import functools
import json
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from search_space.parsing.visible import visible

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["asset", "block", "data_uri", "render", "script_json", "text"]

# `</script>` and `<!--` end or change a script element even inside of JSON; the separators end lines of old JavaScript.
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_TABLE = str.maketrans(_IN_SCRIPT)


def render(template: str, **values: Any) -> Markup:
    """The template, named by its path within `results`, filled with the values."""
    return Markup(_environment().get_template(template).render(values))


@functools.cache
def asset(path: str) -> Markup:
    """A style, script or template of this package, named by its path within `results`."""
    return Markup(files("results").joinpath(path).read_text(encoding="utf-8"))


def text(words: object) -> Markup:
    """One line of visible characters, for content and quoted attributes alike."""
    return Markup(escape(visible(str(words)), quote=True))


def block(words: str) -> Markup:
    """Several lines, each of visible characters, for a `pre`."""
    return Markup("\n").join(text(line.expandtabs(4)) for line in words.splitlines())


def script_json(value: Any) -> Markup:
    """JSON that is safe inside a script element."""
    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_TABLE))


def data_uri(content: str | bytes, kind: str) -> str:
    """The content as a `data:` URI, which needs no request."""
    data = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@functools.cache
def _environment() -> Environment:
    # Here, not above: only writing HTML needs the import.
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda path: str(asset(path))),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else text(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"block": block, "data_uri": data_uri, "script_json": script_json}
    environment.globals["asset"] = asset
    return environment
