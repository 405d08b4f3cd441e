"""The command `archsweep`, and `python -m archsweep`: works in every directory, whatever packages it contains."""

from __future__ import annotations

import sys

from archsweep.own_packages import shadowed

__all__ = ["main"]


def main() -> None:
    """Entry point: refuses to start where another package shadows one of ours."""
    if problems := shadowed():
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        print(f"archsweep: {count}\n\n" + "\n\n".join(problems), file=sys.stderr)
        sys.exit(2)
    from runners.cli import main as run_command  # only now: it may be one that shadows ours

    run_command()


if __name__ == "__main__":
    main()
