"""The golden cases of this repository: every system that a test asks for is there, unharmed, and all are small."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden"
MOST_BYTES = 11_500_000


def systems_that_tests_ask_for() -> dict[str, Path]:
    """The words in every `@pytest.mark.golden(...)`, and a file that has them."""
    asked = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.golden":
                asked |= {word.value: path for word in node.args if isinstance(word, ast.Constant)}
    return asked


def own_cases() -> dict[Path, dict]:
    found = {path: json.loads(path.read_text()) for path in sorted(GOLDEN.glob("*/*.json"))}
    return {path: meta for path, meta in found.items() if "system" in meta}


def test_every_system_that_a_test_asks_for_has_a_case_in_the_repository():
    """Without ARCHSWEEP_GOLDEN no parity test is left out."""
    asked = systems_that_tests_ask_for()
    assert len(asked) >= 15
    here = {meta["system"] for meta in own_cases().values()}
    assert {system: path.name for system, path in asked.items() if system not in here} == {}


def test_systems_with_running_statistics_have_a_case_of_a_training_step():
    trained = {meta["system"] for meta in own_cases().values() if meta["mode"] == "train"}
    assert trained >= {"dla", "reattention", "refined_attention", "deepvit", "refined_vit", "gma_module"}


def test_the_set_stays_small():
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) <= MOST_BYTES


WITH_TENSORS = [path for path, meta in own_cases().items() if "expected" not in meta]


@pytest.mark.parametrize("path", WITH_TENSORS, ids=lambda path: path.stem)
def test_tensors_are_the_recorded_bytes(path):
    """Git must not have converted them. (Some cases state their number of bytes, but no checksum.)"""
    meta = json.loads(path.read_text())
    if "cases" in meta:  # numbers only, which are in the JSON itself
        return
    content = path.with_suffix(".safetensors").read_bytes()
    assert len(content) == meta.get("bytes", len(content))
    checksum = meta.get("sha256") or meta.get("safetensors_sha256")
    assert checksum in (None, hashlib.sha256(content).hexdigest())


def test_further_cases_come_from_where_archsweep_golden_points(tmp_path, monkeypatch, find_golden_cases):
    """At any depth; a case of the same family and name runs once; a file without `system` is no case."""
    monkeypatch.delenv("ARCHSWEEP_GOLDEN", raising=False)
    own = find_golden_cases("gma_module")
    twin, new = tmp_path / "groupmixformer" / f"{own[0].stem}.json", tmp_path / "more" / "family" / "new.json"
    for path in (twin, new):
        path.parent.mkdir(parents=True)
        path.write_text(own[0].read_text())
    (tmp_path / "oracle.json").write_text('{"tables": []}')
    (tmp_path / "list.json").write_text("[1]")
    monkeypatch.setenv("ARCHSWEEP_GOLDEN", str(tmp_path))
    assert find_golden_cases("gma_module") == [*own, new]
    (new.with_name("oracle.json")).write_text(json.dumps({"config": {}}))
    assert find_golden_cases("gma_module") == [*own, new]


def test_cases_are_chosen_by_what_their_configuration_sets(tmp_path, monkeypatch, find_golden_cases):
    case = json.dumps({"system": "any", "config": {"cos_reg": True, "share_atten": False}})
    (tmp_path / "one.json").write_text(case)
    monkeypatch.setenv("ARCHSWEEP_GOLDEN", str(tmp_path))
    assert len(find_golden_cases("any", cos_reg=True)) == 1
    assert find_golden_cases("any", cos_reg=False) == []
    assert len(find_golden_cases("any", cos_reg=True, share_atten=False, peg=False)) == 1


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir], ids=["missing", "empty"])
def test_archsweep_golden_that_points_to_no_case_is_an_error(tmp_path, monkeypatch, find_golden_cases, make):
    named = tmp_path / "named"
    make(named)
    monkeypatch.setenv("ARCHSWEEP_GOLDEN", str(named))
    with pytest.raises(pytest.fail.Exception) as caught:
        find_golden_cases("gma_module")
    assert str(caught.value) == (
        f"ARCHSWEEP_GOLDEN is {str(named)!r}, where no <family>/<name>.json can be found; correct or unset it"
    )
