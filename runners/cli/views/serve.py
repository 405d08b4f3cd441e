"""`archsweep serve`: a local page over all runs of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search_space import Problem, SpecError

__all__ = ["serve"]

_PORT = 8642
_INSTALL = "pip install 'archsweep[serve]'"


def serve(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Folder of runs.")] = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 chooses a free one.")] = _PORT,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    remote: Annotated[
        bool, typer.Option("--remote", help="Allow a --host that other machines reach; nothing is encrypted.")
    ] = False,
) -> None:
    """Show all runs of a folder as a local web page, live.

    Progress, running trials with their curves, the table as it fills, figures, failures, the plan. Read-only; the
    address that is printed holds a token, without which nothing is shown. Ctrl-C ends it; the runs go on.
    """
    try:
        import starlette  # noqa: F401  # an optional extra
        import uvicorn  # noqa: F401
    except ImportError as err:
        raise SpecError(
            Problem(f"needs {err.name}, which is not installed", where="archsweep serve", hint=_INSTALL)
        ) from err
    # With the server, and with altair, which takes a second.
    from runners.serve.access import is_loopback
    from runners.serve.server import serve as run_server

    if not remote and not is_loopback(host):
        raise SpecError(
            Problem(
                "other machines could reach this address",
                where=f"--host {host}",
                hint="leave --host out and use an ssh tunnel; or add --remote: who has the token then reads your\n"
                "runs, over a connection that is not encrypted",
            )
        )
    run_server(folder, host=host, port=port, is_remote=remote and not is_loopback(host))
