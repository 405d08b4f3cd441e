"""The command `archsweep`, and `python -m archsweep`: works in every directory, whatever packages it contains."""

from __future__ import annotations

import gc
import os
import sys

from archsweep.own_packages import shadowed

__all__ = ["main"]


def main() -> None:
    """Entry point: refuses to start where another package shadows one of ours."""
    if problems := shadowed():
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        print(f"archsweep: {count}\n\n" + "\n\n".join(problems), file=sys.stderr)
        sys.exit(2)
    gc.disable()  # until it is known what is to be done: imports make many objects and no rubbish
    from runners.cli import main as run_command  # only now: it may be one that shadows ours
    from runners.cli.verbs import BRIEF

    verb = next(iter(sys.argv[1:]), "--help")
    if verb not in BRIEF and not verb.startswith("-"):
        if verb != "run":  # which imports torch first, and then goes on with the collector
            gc.enable()
        run_command()
        return
    # Or pydantic would look through the metadata of every installed package for plug-ins of its own.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        run_command()
    finally:
        if "torch" not in sys.modules:  # libraries of torch complain at the end of what was not collected
            gc.freeze()  # or the interpreter would look through all that was imported once more


if __name__ == "__main__":
    main()
