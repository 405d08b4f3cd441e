"""`archsweep doctor`: check of this machine."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer

from runners.cli.arguments import AsJson

__all__ = ["doctor"]


def doctor(
    out: Annotated[Path, typer.Option(help="Directory of the run directories.")] = Path("runs"),
    cpus_per_trial: Annotated[float, typer.Option(min=0, help="resources.cpus of the sweep.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Check whether this machine can run sweeps.

    Packages, GPUs, CPUs, memory, limits, disks, locks and Ray, with a remedy for each problem. Exit code 0: trials can
    run, perhaps with warnings. 1: a problem prevents them.
    """
    from runners.doctor import Request, diagnose
    from search_space.parsing.visible import visible

    found = diagnose(Request(out, cpus_per_trial))
    if as_json:
        from runners.cli.documents.document import write_document
        from runners.cli.documents.of_sweeps import DoctorDocument, FindingEntry

        findings = [FindingEntry(**dataclasses.asdict(finding)) for finding in found]
        write_document(DoctorDocument(findings=findings), sys.stdout)
    else:
        width = max(len(finding.name) for finding in found)
        for finding in found:
            print(f"{finding.state:8} {finding.name.ljust(width)}  {visible(finding.text)}")
            if finding.remedy:
                print(f"{'':8} {'':{width}}  -> {visible(finding.remedy)}")
    if any(finding.state == "problem" for finding in found):
        raise typer.Exit(1)
