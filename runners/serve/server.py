"""The socket of the server, its address, and its end."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import sys
from pathlib import Path

import uvicorn

from results.live.library import Library
from runners.serve.access import Door
from runners.serve.app import make_app
from runners.session.reports import report_subject
from search_space import Problem, SpecError
from search_space.parsing.visible import visible

__all__ = ["serve"]

_MOST_HEADER = 32 * 1024
_MOST_CONNECTIONS = 200
_SWITCH_SECONDS = 0.0002


def serve(folder: Path, *, host: str, port: int, is_remote: bool) -> None:
    """Serve until Ctrl-C. Prints the address first.

    Raises:
        SpecError: the folder is none, or the address cannot be used.
    """
    if not folder.is_dir():
        came = "is a file" if folder.exists() else "no such folder"
        hint = "name the folder of your runs: `archsweep serve runs`\na folder without runs is fine: its page fills"
        raise SpecError(Problem(came, where=str(folder), hint=hint))
    listening = _listen(host, port)
    bound = listening.getsockname()[1]
    token = secrets.token_urlsafe(32)
    app = make_app(Library(folder, report_subject), Door(token, is_remote=is_remote))
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,  # addresses hold the token
        server_header=False,
        date_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=_MOST_HEADER,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    # Every file that is asked for its size lets another thread go on, and while one draws figures it keeps the
    # interpreter for this long: with the usual 5 ms an overview of 100 runs would take seconds then.
    sys.setswitchinterval(_SWITCH_SECONDS)
    print(_words(folder, host, bound, token, is_remote=is_remote), flush=True)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        listening.close()
    print("archsweep serve: ended")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as err:
        raise SpecError(Problem(f"no address of this machine: {err.strerror}", where=f"--host {host}")) from err
    try:
        if os.name == "posix":  # a port that was left a moment ago may be taken again
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as err:
        listening.close()
        if err.errno == errno.EADDRINUSE:
            hint = "choose another one, or --port 0 for any that is free"
            raise SpecError(Problem("another program uses this port", where=f"--port {port}", hint=hint)) from err
        if err.errno == errno.EACCES:
            hint = "choose one from 1024 on, or --port 0 for any that is free"
            raise SpecError(Problem("no permission for this port", where=f"--port {port}", hint=hint)) from err
        reason = err.strerror or str(err)
        raise SpecError(Problem(f"cannot be listened on: {reason}", where=f"--host {host} --port {port}")) from err
    return listening


def _words(folder: Path, host: str, port: int, token: str, *, is_remote: bool) -> str:
    machine = socket.gethostname()
    shown = machine if is_remote and host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    lines = [
        f"serving {visible(str(folder))}, read-only, until Ctrl-C",
        "",
        f"  http://{shown}:{port}/?token={token}",
        "",
    ]
    if is_remote:
        lines.append("other machines can reach this address, and the connection is not encrypted")
    else:
        lines.append(f"from another machine: ssh -N -L {port}:{shown}:{port} {machine}, then the same address there")
    return "\n".join(lines)
