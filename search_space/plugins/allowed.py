"""Plug-in files that the user allows for good: loaded as soon as a sweep names them.

`$XDG_CONFIG_HOME/archsweep/config.toml` (default `~/.config/archsweep/config.toml`):

    plugins = ["~/lab/my_attention.py", "~/lab/my_lab"]

It is the user's own file. A sweep cannot write it, and nothing else is read from it.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from search_space.parsing.errors import Problem, SpecError
from search_space.parsing.type_guards import is_list_or_tuple

__all__ = ["allowed_files", "config_file"]


def config_file() -> Path:
    """The user's configuration, whether it exists or not."""
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder).expanduser() / "archsweep" / "config.toml"


def allowed_files() -> dict[str, Path]:
    """Name of a plug-in -> its file or folder, as the user's configuration lists them.

    Raises:
        SpecError: the configuration cannot be read, or says something else.
    """
    path = config_file()
    if not path.exists():
        return {}
    import tomllib  # few have the file

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise SpecError(Problem(f"cannot be read: {err}", where=str(path))) from err
    problems: list[Problem] = []
    for key in content:
        if key != "plugins":
            close = "  Did you mean 'plugins'?" if difflib.get_close_matches(key, ["plugins"]) else ""
            problems.append(Problem(f"unknown key {key!r}", where=str(path), hint=f"known: plugins.{close}"))
    given: Any = content.get("plugins", [])
    listed: list[Any] = given if is_list_or_tuple(given) else []  # pyright: ignore[reportAssignmentType]
    entries = [each for each in listed if isinstance(each, str)]
    if entries != given:
        problems.append(Problem("plugins must be a list of files", where=str(path), hint='plugins = ["~/lab/mine.py"]'))
    found: dict[str, Path] = {}
    for entry in entries:
        file = Path(entry).expanduser()
        if not file.is_absolute():
            hint = "it would depend on the working directory"
            problems.append(Problem(f"{entry!r} is no absolute path", where=str(path), hint=hint))
        elif file.stem in found:
            problems.append(Problem(f"two plug-ins are named {file.stem!r}", where=str(path), hint="rename one"))
        else:
            found[file.stem] = file
    if problems:
        raise SpecError(problems)
    return found
