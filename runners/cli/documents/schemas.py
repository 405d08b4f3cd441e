"""The JSON Schema of every document, by the verb that prints it."""

from __future__ import annotations

from typing import Any

from runners.cli.documents import of_runs, of_sweeps, of_variance
from runners.cli.documents.document import Document, ProblemsDocument
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["DOCUMENTS", "schema_of"]

DOCUMENTS: dict[str, type[Document]] = {
    "status": of_runs.StatusDocument,
    "wait": of_runs.WaitDocument,
    "table": of_runs.TableDocument,
    "ls": of_runs.LsDocument,
    "diff": of_runs.DiffDocument,
    "variance": of_variance.VarianceDocument,
    "verify": of_runs.VerifyDocument,
    "check": of_sweeps.CheckDocument,
    "check-data": of_sweeps.CheckDataDocument,
    "plan": of_sweeps.PlanDocument,
    "models": of_sweeps.ModelsDocument,
    "doctor": of_sweeps.DoctorDocument,
    "cache": of_sweeps.CacheDocument,
    "problems": ProblemsDocument,
}


def schema_of(verb: str) -> dict[str, Any]:
    """The JSON Schema of what a verb prints with `--json`; `problems`: of what every verb prints when it refuses.

    Raises:
        SpecError: the verb prints no JSON.
    """
    if verb not in DOCUMENTS:
        hint = did_you_mean(verb, DOCUMENTS)
        raise SpecError(Problem(f"no verb {verb!r} prints JSON", where="archsweep schema", hint=hint))
    schema = DOCUMENTS[verb].model_json_schema(mode="serialization", by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
