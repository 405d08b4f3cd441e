"""Words of others in a page: as text, as data of a script, as a file to download, never as markup or code.

A report is opened from the disk and sent to colleagues; names, messages and logs in it come from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import Any

from search_space.parsing.visible import visible

__all__ = ["block", "data_uri", "script_hash", "script_json", "text"]

# `</script>` and `<!--` end or change a script element even inside of JSON; the separators end lines of old JavaScript.
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_TABLE = str.maketrans(_IN_SCRIPT)


def text(words: object) -> str:
    """One line of visible characters, for content and quoted attributes alike."""
    return escape(visible(str(words)), quote=True)


def block(words: str) -> str:
    """Several lines, each of visible characters, for a `pre`."""
    return "\n".join(text(line.expandtabs(4)) for line in words.splitlines())


def script_json(value: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_TABLE)


def data_uri(kind: str, content: str | bytes) -> str:
    """The content as an address that leads nowhere else."""
    data = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def script_hash(script: str) -> str:
    """The script as a Content-Security-Policy names it: nothing else may run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
