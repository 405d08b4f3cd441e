"""`archsweep bundle` and `archsweep verify`: a run as one file for a reviewer, and its check."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from runners.cli.arguments import AsJson, RunArgument
from search_space.parsing.errors import Problem, SpecError

__all__ = ["bundle", "verify"]


def bundle(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option(help="The file to write. Default: NAME.zip of the run NAME.")] = None,
) -> None:
    """Pack a run into one file: sweep, records, fingerprints of the data, versions and tables, with their hashes.

    `archsweep verify FILE` recomputes every table from it.
    """
    from results.run_files.bundle import write_bundle

    path = out or Path(f"{run.resolve().name}.zip")
    found = write_bundle(run, path)
    missing = f", {found.num_missing} of the plan missing" if found.num_missing else ""
    print(f"{path}: {_trials(found.num_trials)}{missing}")
    print(f"sha256 {found.digest}")


def verify(
    bundle_: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A file of `archsweep bundle`.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Check a bundle: hashes, ids of all records, and every table made again from the records.

    Exit code 0: all of it holds. 2: it does not, or the file is no bundle.
    """
    from results.run_files.bundle import verify_bundle

    if bundle_.is_dir():
        hint = f"of a run, archsweep bundle {bundle_} writes one"
        raise SpecError(Problem("is a folder, and a bundle is a file", where=str(bundle_), hint=hint))
    found = verify_bundle(bundle_)
    if as_json:
        from runners.cli.documents.document import write_document
        from runners.cli.documents.of_runs import VerifyDocument

        counts = {name: getattr(found, name) for name in ("num_trials", "num_missing", "num_fingerprints")}
        write_document(VerifyDocument(bundle=str(bundle_), sha256=found.digest, **counts), sys.stdout)
        return
    missing = f", {found.num_missing} of the plan missing" if found.num_missing else ""
    print(f"{bundle_}: verified: {_trials(found.num_trials)}{missing}; all tables follow from the records")
    if found.num_fingerprints != 1:
        print(f"fingerprints of data: {found.num_fingerprints or 'none recorded'}")
    print(f"sha256 {found.digest}")


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"
