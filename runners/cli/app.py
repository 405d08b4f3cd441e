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

from runners.cli import (
    cache,
    check,
    check_data,
    doctor,
    guide,
    launch,
    launch_slurm,
    run,
)
from runners.cli.files import export_dataset, import_checkpoint, import_runs, models_schema_init, new
from runners.cli.plan import command as plan
from runners.cli.plugin_option import with_commands, with_plugins
from runners.cli.views import bundle, diff, ls, report, serve, status, table, wait, watch
from search_space import SpecError

__all__ = ["app", "main"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    name="archsweep",
    help="Ablation studies of vision-transformer architectures: one YAML file in, one trustworthy table out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(models_schema_init.init)
app.command("new")(new.new)
app.command("check")(with_plugins(check.check))
app.command("check-data")(with_plugins(check_data.check_data))
app.command("plan")(with_plugins(plan.plan))
app.command("run")(with_plugins(run.run))
app.command("status")(with_plugins(status.status))
app.command("watch")(with_plugins(watch.watch))
app.command("wait")(wait.wait)
app.command("serve")(with_plugins(serve.serve))
app.command("table")(with_plugins(table.table))
app.command("report")(with_plugins(report.report))
app.command("ls")(with_plugins(ls.ls))
app.command("diff")(with_plugins(diff.diff))
app.command("bundle")(with_plugins(bundle.bundle))
app.command("verify")(with_plugins(bundle.verify))
app.command("cache")(cache.cache)
app.command("doctor")(doctor.doctor)
app.command("models")(with_plugins(models_schema_init.models))
launch.app.command("slurm")(with_plugins(with_commands(launch_slurm.slurm)))
launch.app.command("slurm-array")(with_plugins(with_commands(launch_slurm.slurm_array)))
app.add_typer(launch.app, name="launch")
app.command("guide")(guide.guide)
app.command("schema")(with_plugins(models_schema_init.schema))
app.command("export-dataset")(export_dataset.export_dataset)
app.command("import-checkpoint")(import_checkpoint.import_checkpoint)
app.command("import-runs")(import_runs.import_runs)


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
            app()
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
