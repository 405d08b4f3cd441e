"""`archsweep launch job`: a `ray job submit` of the sweep to a Ray cluster that is running already.

The sweep file travels as the job's working directory; that directory is thrown away afterwards, so the run directory
must be an absolute path that the cluster's nodes share. Ray does not retry such a job: submitting again continues.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from runners.launch.launched_sweep import LaunchedSweep, refusing
from search_space import Problem

__all__ = ["JobOptions", "submit", "write"]


@dataclass(frozen=True)
class JobOptions:
    """`address` of the cluster's dashboard, `http://HEAD:8265`."""

    address: str | None = None


def write(sweep: LaunchedSweep, options: JobOptions) -> str:
    """A shell script of one command.

    Raises:
        SpecError: no address, one that is not the dashboard's, or no run directory of its own.
    """
    with refusing() as problems:
        if options.address is None:
            hint = "the dashboard of the cluster, e.g. --address http://HEAD:8265"
            problems.append(Problem("nothing says which cluster", where="--address", hint=hint))
        elif not options.address.startswith(("http://", "https://")):
            hint = "e.g. --address http://HEAD:8265; it is not the address of `archsweep run`"
            problems.append(
                Problem(f"not an address of a dashboard: {options.address!r}", where="--address", hint=hint)
            )
        if sweep.run_dir is None:
            hint = "their run directories would go with the job: launch one at a time with --study and --out"
            problems.append(Problem("several studies", where="--study", hint=hint))
    folder = sweep.path.parent
    # What lies beside a sweep file may be large; the job needs the file alone.
    excludes = ["*", f"!{sweep.path.name}"]
    words = ["ray", "job", "submit", "--address", options.address or "", "--working-dir", str(folder)]
    words += ["--runtime-env-json", json.dumps({"excludes": excludes}), "--"]
    words += sweep.command(sweep=sweep.path.name)
    return _SCRIPT.format(about=sweep.describe(), command=shlex.join(words))


def submit(path: str, sweep: LaunchedSweep) -> list[list[str]]:
    return [["bash", path]]


_SCRIPT = """\
#!/bin/bash
# Written by `archsweep launch job`: {about}.
# Needs `pip install 'ray[default]'` here and on the cluster, and archsweep on its nodes; a cluster with token
# authentication also needs RAY_AUTH_MODE=token and the token here. --out must be a path that all nodes share.
# Submitting again continues the sweep. Edit: the address, --out.
exec {command}
"""
