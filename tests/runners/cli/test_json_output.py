"""`--json` of every verb that reads: one strict JSON object, valid by the schema of `archsweep schema VERB`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import jsonschema
import pytest

import archsweep
from runners.cli import main
from runners.cli.app import app
from runners.cli.documents.schemas import DOCUMENTS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "json_output.md").read_text(encoding="utf-8")
SWEEP = """
name: tiny
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4}
  task: {name: classification, dataset: builtin/digits}
  train: {epochs: 1, batch_size: 512, lr: 3e-3}
space: {train.lr: [0.003, 1.0e+30]}
design: one_factor
seeds: 3
metric: top1
"""
VERBS = {  # of real runs: one arm diverges, so that its trials have failed; tests/runners/doctor has the doctor
    "status": ["status", "RUN"],
    "wait": ["wait", "RUN"],
    "table": ["table", "RUN"],
    "ls": ["ls", "RUN", "--all"],
    "diff": ["diff", "RUN", "baseline", "lr=1e+30"],
    "variance": ["variance", "RUN"],
    "verify": ["verify", "BUNDLE"],
    "check": ["check", "SWEEP"],
    "check-data": ["check-data", "SWEEP"],
    "plan": ["plan", "SWEEP", "--no-cache"],
    "models": ["models", "vit_tiny"],
    "cache": ["cache", "--dir", "FOLDER"],
    "problems": ["check", "BROKEN"],
}
CODES = {"wait": 3, "problems": 2}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("json")
    sweep, broken = folder / "tiny.yaml", folder / "broken.yaml"
    sweep.write_text(SWEEP)
    broken.write_text(SWEEP.replace("depth: 1", "dept: 1"))
    run = archsweep.run(sweep, out=folder / "run", engine="in-process", cache=False, progress=False)
    called("bundle", run.path, "--out", folder / "run.zip")
    named = {"RUN": run.path, "SWEEP": sweep, "BROKEN": broken, "BUNDLE": folder / "run.zip", "FOLDER": folder}
    return {name: str(path) for name, path in named.items()}


def called(*arguments):
    """Exit code of the command, carried out in this process."""
    before = sys.argv
    sys.argv = ["archsweep", *map(str, arguments)]
    try:
        main()
    except SystemExit as end:
        return end.code or 0
    finally:
        sys.argv = before
    return 0


def strict(text):
    return json.loads(text, parse_constant=pytest.fail)


def schema_of(verb, capsys):
    assert called("schema", verb) == 0
    return strict(capsys.readouterr().out)


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_verb_prints_is_valid_by_its_schema(verb, places, capsys):
    capsys.readouterr()
    code = called(*(places.get(word, word) for word in VERBS[verb]), "--json")
    found = strict(capsys.readouterr().out)
    assert found["schema"] == f"archsweep.{verb}/1"
    schema = schema_of(verb, capsys)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(found, schema, cls=jsonschema.Draft202012Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**found, "unknown": 1}, schema)
    assert code == CODES.get(verb, 0)


def test_every_reading_verb_has_json():
    """All of them by the list of commands, so that a new verb must decide."""
    acting = {"init", "run", "watch", "report", "bundle", "schema", "export-dataset", "import-checkpoint", "guide"}
    acting |= {"new", "serve", "launch", "preregister"}
    acting |= {"import-runs"}
    names = {command.name for command in app.registered_commands}
    assert names - acting == set(DOCUMENTS) - {"problems"}


@pytest.mark.parametrize("verb", DOCUMENTS)
def test_the_page_describes_every_key(verb, capsys):
    schema = schema_of(verb, capsys)
    parts = [schema, *schema.get("$defs", {}).values()]
    missing = [
        key
        for part in parts
        for key, field in part["properties"].items()
        if key != "schema" and not re.search(rf"^\| `{key}` \| {re.escape(field['description'])} \|$", PAGE, re.M)
    ]
    assert missing == []


def test_a_table_has_the_numbers_of_its_csv_with_null_for_what_is_missing(places, capsys):
    called("table", places["RUN"], "--json")
    found = strict(capsys.readouterr().out)
    called("table", places["RUN"], "--format", "csv")
    header, first, _ = capsys.readouterr().out.splitlines()
    assert found["columns"] == header.split(",")
    assert repr(found["rows"][0]["top1_mean"]) in first
    assert (found["rows"][1]["variant"], found["rows"][1]["top1_mean"]) == ("lr=1e+30", None)
    assert found["rows"][1]["seeds_failed"] == 3


def test_problems_have_their_place(places, capsys):
    assert called("check", places["BROKEN"], "--json") == 2
    out, err = capsys.readouterr()
    (problem,) = strict(out)["problems"]
    assert (problem["file"], problem["line"], problem["path"]) == (places["BROKEN"], 4, "baseline.arch.dept")
    assert problem["column"] == SWEEP.replace("depth: 1", "dept: 1").splitlines()[3].index("dept") + 1
    assert "Did you mean" in problem["hint"]
    assert "1 problem" in err


def test_an_unknown_document_is_refused(capsys):
    assert called("schema", "statu") == 2
    assert "Did you mean 'status'?" in " ".join(capsys.readouterr().err.split())
