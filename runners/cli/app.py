"""Command line: commands, exit codes, and error output.

Exit codes: 0 all done; 1 `doctor` found a problem; 2 a sweep or a call that cannot be carried out; 3 finished with
failed trials; 4 and 5 of `wait`: the time is over, the run has stopped; 129 interrupted by a lost terminal, 130 by
Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from runners.cli.verbs import VERBS, VerbOnCall
from search_space.parsing.errors import SpecError

__all__ = ["app", "main"]

_COMPLETIONS = ("--install-completion", "--show-completion")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    name="archsweep",
    help="Ablation studies of vision-transformer architectures: one YAML file in, one trustworthy table out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _verb in VERBS.items():
    app.command(_name, cls=VerbOnCall, help=_verb.about)(lambda: None)


def _print_version(wanted: bool) -> None:
    if wanted:
        from archsweep.version import version as installed  # the metadata of packages takes 10 ms to import

        print(f"archsweep {installed()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


def main() -> None:
    """Entry point: a SpecError is printed without traceback, exit code 2."""
    try:
        try:
            # A shell completes commands, and `python -m archsweep` is none.
            app(prog_name="archsweep" if next(iter(sys.argv[1:]), "").startswith(_COMPLETIONS) else None)
        finally:
            sys.stdout.flush()  # or the interpreter would report a full disk, with a traceback
    except SpecError as err:
        _refuse(err)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `archsweep table RUN | head`
        sys.stderr.close()
        sys.exit(0)
    except OSError as err:
        if err.errno not in _FULL:
            raise
        from results.store.files import readable_write_errors  # imports numpy

        # The interpreter would try to write the rest again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            with readable_write_errors(Path(err.filename or "the output")):
                raise
        except SpecError as readable:
            _refuse(readable)


def _refuse(err: SpecError) -> NoReturn:
    if "--json" in sys.argv[1:]:
        from runners.cli.documents.document import refused

        refused(err, sys.stdout)
    count = len(err.problems)
    print(f"archsweep: {count} problem{'s' if count > 1 else ''}\n\n{err}", file=sys.stderr)
    sys.exit(2)
