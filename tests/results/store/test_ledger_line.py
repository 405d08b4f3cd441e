"""msgspec reads a line of the ledger as pydantic does, or leaves it to pydantic."""

from __future__ import annotations

import copy
import importlib.util
import json
import pickle
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from results.store.ledger_line import LedgerLine, decode_line
from results.store.records import TrialRecord

_FILE = Path(__file__).parents[3] / "benchmarks" / "damaged_runs.py"
_spec = importlib.util.spec_from_file_location("damaged_runs", _FILE)
assert _spec is not None
assert _spec.loader is not None
damaged_runs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(damaged_runs)

LEAST = {"trial_id": "t", "variant_id": "v", "variant": "name", "seed": 0, "spec": {}, "status": "completed"}
FULL = {
    **{"version": 1, **LEAST, "changes": {"arch.depth": 2}, "epochs": 2, "metrics": {"top1": 97.25, "loss": 1e-7}},
    "spec": {"arch": {"depth": 2}, "task": {"dataset": {"name": "d"}}, "train": {"lr": 0.003, "aa": None}, "seed": 0},
    "curve": [{"epoch": 1.0, "top1": 90.5}, {"epoch": 2, "top1": 97.25}],
    **{"params_m": 0.5, "gmacs": 1, "train_seconds": 1.5, "total_seconds": 2.0, "device": "cpu", "host": "node"},
    **{"finished_at": "2030-01-01T00:00:00+00:00", "number": 3, "params": {"depth": 2}, "attempt": 2, "session": "s"},
    **{"role": "", "resumed_from_epoch": None, "cached_from": "runs/a \u00e9"},
    "failure": {"type": "E", "message": "m\nn", "traceback": "t", "epoch": 1},
}


def by_pydantic(line: bytes) -> TrialRecord | None:
    try:
        record = TrialRecord.model_validate_json(line)
    except ValidationError:
        return None
    return record if record.version <= 2 else None


def assert_agree(line: bytes) -> bool:
    """msgspec reads what pydantic reads, to the type of every value, or nothing. Returns whether it read the line."""
    found = decode_line(line)
    if found is None:
        return False
    record, expected = found.record(), by_pydantic(line)
    assert repr(record) == repr(expected)
    return True


def test_a_struct_and_a_model_with_the_same_fields():
    """In the same order, which is that of the file. Another field is one to add in both."""
    assert LedgerLine.__struct_fields__ == tuple(TrialRecord.model_fields)


@pytest.mark.parametrize("content", [LEAST, FULL], ids=["least", "full"])
def test_a_record_read_by_msgspec_behaves_as_one_read_by_pydantic(content):
    line = json.dumps(content).encode()
    found = decode_line(line)
    assert found is not None
    record, expected = found.record(), TrialRecord.model_validate_json(line)
    assert record == expected
    assert record.model_dump_json() == expected.model_dump_json()
    assert record.model_dump(mode="json") == expected.model_dump(mode="json")
    changed = {"role": "retune", "more": 1}
    assert record.model_copy(update=changed) == expected.model_copy(update=changed)
    assert pickle.loads(pickle.dumps(record)) == copy.deepcopy(record) == expected
    with pytest.raises(ValidationError):
        record.seed = 1  # pyright: ignore[reportAttributeAccessIssue]


def test_defaults_are_shared_by_no_two_records():
    line = json.dumps(LEAST).encode()
    one, other = decode_line(line), decode_line(line)
    assert one is not None
    assert other is not None
    one.record().metrics["top1"] = 1.0
    one.record().curve.append({"epoch": 1.0})
    assert (other.record().metrics, other.record().curve) == ({}, [])


def test_what_drivers_write_is_read_by_msgspec():
    assert assert_agree(TrialRecord.model_validate(FULL).model_dump_json().encode() + b"\n")
    assert assert_agree(TrialRecord.model_validate(LEAST).model_dump_json().encode() + b"\n")
    assert assert_agree(json.dumps({**FULL, "curve": [{"epoch": n} for n in range(2000)]}).encode())


NUMBERS = [
    *(b"1", b"-1", b"1.0", b"1e0", b"1.5", b"-0", b"-0.0", b"01", b"1.", b".5", b"+1", b"1E2", b"1e-7", b"1e400"),
    *(b"9" * 30, b"9223372036854775807", b"9223372036854775808", b"18446744073709551616", b"9007199254740993"),
    *(b"5e-324", b"2.2250738585072011e-308", b"0.30000000000000004", b"1" + b"0" * 400, b"9" * 5000),
    *(b"1e15", b"1000000000000001", b"-1e16", b"1e9", b"NaN", b"Infinity", b"-Infinity"),
]
TEXTS = [
    *(b'"x"', b'"1"', b'"NaN"', b'"retune"', b'"completed"', b'"\\ud83d\\ude00"', b'"\\ud800"', b'"\\u0000"', b'"\\/"'),
    *(
        b'"\\x"',
        b'"a\x01b"',
        b'"a\tb"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\xc0\x80"',
        b'"\xf4\x90\x80\x80"',
        b'"\xc3\xa9"',
    ),
    *(b'"\x7f"', b"'x'", b'"', b'""'),
]
OTHERS = [
    *(b"null", b"true", b"{}", b"[]", b"[1,]", b"[{}]", b'{"a":1,}', b"{1:2}", b'{"a":1,"a":2}', b'{"a":"x","a":2}'),
    *(
        b'{"epoch":1}',
        b'[{"epoch":1}]',
        b'[{"epoch":-1}]',
        b'[{"epoch":1e9}]',
        b'{"train":3}',
        b'{"task":{"dataset":1}}',
    ),
    *(b'{"type":"E","message":"m"}', b'{"type":"E","message":"m","more":1}', b"tru", b"", b"/**/1"),
    *(b"[" * depth + b"]" * depth for depth in (90, 150, 199, 250, 900, 2000)),
    *(b'{"a":' * depth + b"1" + b"}" * depth for depth in (90, 150, 199, 250, 900, 2000)),
]


@pytest.mark.parametrize("name", [*FULL, "unknown"])
def test_every_value_of_every_field_is_read_alike(name):
    content = {key: value for key, value in FULL.items() if key != name}
    rest = json.dumps(content).encode()[1:]
    for value in [*NUMBERS, *TEXTS, *OTHERS]:
        key = name.encode()
        assert_agree(b'{"' + key + b'":' + value + b"," + rest)
        assert_agree(b'{"' + key + b'":{"k":' + value + b"}," + rest)
        assert_agree(b'{"' + key + b'":[{"epoch":1,"k":' + value + b"}]," + rest)
        assert_agree(json.dumps(FULL).encode()[:-1] + b',"' + key + b'":' + value + b"}")  # twice


@pytest.mark.parametrize("text", TEXTS)
def test_every_name_of_a_field_is_read_alike(text):
    rest = json.dumps(LEAST).encode()[1:]
    assert_agree(b"{" + text + b":1," + rest)
    for name in (b"spec", b"metrics", b"changes"):
        assert_agree(b'{"' + name + b'":{' + text + b":1}," + rest)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b" ", b"\x00", b"x", b"{}", b"\xc2\xa0", b"\x0c"])
def test_bytes_around_a_record_are_read_alike(end):
    line = json.dumps(FULL).encode()
    assert_agree(line + end)
    assert_agree(end + line)
    assert_agree(b"\xef\xbb\xbf" + line)
    assert_agree(line.replace(b" ", end))


def test_a_newer_record_is_left_to_pydantic():
    assert decode_line(json.dumps({**FULL, "version": 3}).encode()) is None
    assert decode_line(json.dumps({**FULL, "energy_kwh": 0.25}).encode()) is None


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**32), num=st.integers(1, 3))
def test_damaged_lines_are_read_alike(seed, num):
    dice = random.Random(seed)
    line = json.dumps(FULL)
    for _ in range(num):
        line = damaged_runs.mutated_json(line, dice)
    assert_agree(line.encode(errors="surrogatepass"))


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**32), num=st.integers(1, 4))
def test_damaged_bytes_are_read_alike(seed, num):
    dice = random.Random(seed)
    line = bytearray(json.dumps(FULL, separators=(",", ":")).encode())
    for _ in range(num):
        line[dice.randrange(len(line))] = dice.choice([dice.randrange(256), *b'{}[]",:.0e-\\u'])
    assert_agree(bytes(line))
