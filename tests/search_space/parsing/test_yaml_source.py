"""YAML parser: scalars of version 1.2, locations of values, and refusal of unsafe or oversized documents."""

from __future__ import annotations

import time

import pytest

from search_space.parsing.errors import SpecError
from search_space.parsing.yaml_source import MAX_BYTES, MAX_DEPTH, Node, read_file, read_text

# YAML 1.2.2, section 10.3.2 (core schema), and scalars that YAML 1.1 resolves differently
SCALARS = [
    ("1e-3", 0.001),
    ("1E3", 1000.0),
    ("-1.5e+2", -150.0),
    (".5", 0.5),
    ("1.", 1.0),
    ("010", 10),
    ("0o10", 8),
    ("0x1F", 31),
    ("+7", 7),
    ("-0", 0),
    ("12:30:45", "12:30:45"),
    ("1_000", "1_000"),
    ("0b11", "0b11"),
    ("on", "on"),
    ("off", "off"),
    ("yes", "yes"),
    ("No", "No"),
    ("y", "y"),
    ("true", True),
    ("FALSE", False),
    ("tRUE", "tRUE"),
    ("null", None),
    ("~", None),
    ("Null", None),
    ("nULL", "nULL"),
    ("2024-01-01", "2024-01-01"),
    ("=", "="),
    ("'1'", "1"),
    ('"true"', "true"),
    ("!!str 1", "1"),
    ("! 1", "1"),
    ("!!int '3'", 3),
    ("!!float 3", 3.0),
    ("!!null ''", None),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    node, problems = read_text(f"key: {text}\n", "f.yaml")
    assert problems == []
    read = node.plain()["key"]
    assert read == value
    assert type(read) is type(value)


def test_an_empty_value_is_null() -> None:
    assert read_text("a:\nb: [~, ]\n", "f.yaml")[0].plain() == {"a": None, "b": (None,)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (".inf", ".inf is not a finite number"),
        ("-.Inf", "-.Inf is not a finite number"),
        (".nan", ".nan is not a finite number"),
        ("1e999", "1e999 is too large for a number"),
        ("9223372036854775808", "9223372036854775808 is too large for a whole number of 64 bits"),
        ("1" * 5000, "a number of 5000 characters is too long"),
        ("!!int abc", "'abc' is not a value of !!int"),
        ("!!bool 1", "'1' is not a value of !!bool"),
        ("!!int true", "'true' is not a value of !!int"),
    ],
)
def test_numbers_that_a_sweep_cannot_represent_are_problems(text: str, message: str) -> None:
    _, problems = read_text(f"key: {text}\n", "f.yaml")
    assert [(problem.where, problem.message) for problem in problems] == [("f.yaml:1:6", message)]


def test_the_largest_whole_number_is_read() -> None:
    assert read_text("9223372036854775807", "f.yaml")[0].value == 2**63 - 1


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (
            "a: 1\nb: 2\na: 3\n",
            "f.yaml:3:1: the key 'a' is given twice (first on line 1)\n    a: 3\n    ^\n  remove one of them",
        ),
        (
            "a:\n  - {b: 1, b: 2}\n",
            "f.yaml:2:12: the key 'b' is given twice (first on line 2)\n"
            "      - {b: 1, b: 2}\n"
            "               ^\n"
            "  remove one of them",
        ),
        (
            "a: {<<: {b: 1}}\n",
            "f.yaml:1:5: merge keys are not supported\n"
            "    a: {<<: {b: 1}}\n"
            "        ^\n"
            "  `<<` is YAML 1.1; write the keys out, or use an alias for a whole value",
        ),
        (
            "true: 1\n",
            "f.yaml:1:1: a key must be text, but got true\n    true: 1\n    ^\n  quote it if it is meant as text",
        ),
        (
            "? [a]\n: 1\n",
            "f.yaml:1:3: a key must be text, but got a list or mapping\n"
            "    ? [a]\n"
            "      ^\n"
            "  quote it if it is meant as text",
        ),
        (
            "a: !!python/object/apply:os.getcwd []\n",
            "f.yaml:1:4: the tag '!!python/object/apply:os.getcwd' is not supported\n"
            "    a: !!python/object/apply:os.getcwd []\n"
            "       ^\n"
            "  remove it; a sweep holds plain values only",
        ),
        (
            "a: !mine x\n",
            "f.yaml:1:4: the tag '!mine' is not supported\n"
            "    a: !mine x\n"
            "       ^\n"
            "  a sweep supports only the tags !!bool, !!float, !!int, !!null, !!str",
        ),
    ],
)
def test_problems_with_keys_and_tags_are_shown_with_a_caret(text: str, printed: str) -> None:
    _, problems = read_text(text, "f.yaml")
    assert "\n".join(map(str, problems)) == printed


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (
            "a: [1\nb: 2\n",
            "f.yaml:2:2: not YAML: did not find expected ',' or ']' "
            "(while parsing a flow sequence that starts on line 1)\n    b: 2\n     ^",
        ),
        (
            "a:\n\tb: 1\n",
            "f.yaml:2:1: not YAML: found character that cannot start any token (while scanning for the next token)\n"
            "     b: 1\n    ^\n  indent with spaces, not with tabs",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "f.yaml:2:1: a second document starts here\n    ---\n    ^\n  one file holds one sweep; remove the `---`",
        ),
        ("a: &x [*x]\n", "f.yaml:1:8: the alias *x is inside its own anchor\n    a: &x [*x]\n           ^"),
        ("a: *x\n", "f.yaml:1:4: there is no anchor &x before this alias\n    a: *x\n       ^"),
    ],
)
def test_invalid_yaml_is_refused_with_its_location(text: str, printed: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_text(text, "f.yaml")
    assert str(caught.value) == printed


def test_an_alias_bomb_is_refused_without_delay() -> None:
    """Nine lines that would expand to 10^9 values."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 9)]
    started = time.process_time()
    with pytest.raises(SpecError) as caught:
        read_text("\n".join(lines), "f.yaml")
    assert time.process_time() - started < 10
    assert caught.value.problems[0].message == "aliases and lists expand to more than 100000 values"
    # l0 to l3 have 1 + 10 * n values each (11, 111, 1111, 11111); the ninth alias to l3 exceeds the limit
    assert caught.value.problems[0].where.startswith("f.yaml:5:")


def test_anchors_and_aliases_are_supported() -> None:
    text = "a: &sizes [1, 2]\nb: *sizes\nc: &sizes [3]\nd: *sizes\n"
    assert read_text(text, "f.yaml")[0].plain() == {"a": (1, 2), "b": (1, 2), "c": (3,), "d": (3,)}


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 50_000, "{a: " * 50_000, "? " * 50_000])
def test_deep_nesting_is_refused_without_recursing_into_it(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_text(text, "f.yaml")
    assert caught.value.problems[0].message == f"nested deeper than {MAX_DEPTH} levels"


def test_values_and_keys_have_line_and_column() -> None:
    node, _ = read_text("a: 1\nb:\n  - {c: x}\n", "f.yaml")
    assert isinstance(node.value, dict)
    items = node.value["b"].value
    assert isinstance(items, tuple)
    assert isinstance(items[0], Node)
    assert isinstance(items[0].value, dict)
    assert items[0].value["c"].mark.where == "f.yaml:3:9"
    assert items[0].keys["c"].where == "f.yaml:3:6"


def test_the_caret_is_aligned_below_wide_characters() -> None:
    """A character of double width moves the caret by two columns."""
    node, _ = read_text("{'\u8868': 1, b: 2}", "f.yaml")
    assert node.keys["b"].excerpt == "{'\u8868': 1, b: 2}\n          ^"


def test_a_long_line_is_cut_around_the_place() -> None:
    node, _ = read_text("{a: " + "x" * 300 + ", b: 1}", "f.yaml")
    line, caret = node.keys["b"].excerpt.split("\n")
    assert len(line) <= 100
    assert line[caret.index("^")] == "b"


def test_an_unreadable_file_is_refused_with_a_message(tmp_path) -> None:
    (tmp_path / "quickstart.yaml").write_text("name: x")
    (tmp_path / "latin.yaml").write_bytes(b"name: x\ndescription: caf\xe9\n")
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    cases = {
        "missing.yaml": f"{tmp_path}/missing.yaml: there is no such file",
        "latin.yaml": f"{tmp_path}/latin.yaml:2:17: the byte 0xe9 is not UTF-8\n  save the file as UTF-8",
        "large.yaml": f"{tmp_path}/large.yaml: is larger than 1024 KiB: not a sweep file",
        ".": f"{tmp_path}: this is a folder, not a sweep file",
        "no/such.yaml": f"{tmp_path}/no/such.yaml: there is no such file\n"
        f"  the folder '{tmp_path}/no' does not exist either",
    }
    for name, printed in cases.items():
        with pytest.raises(SpecError) as caught:
            read_file(tmp_path / name)
        assert str(caught.value).split("\n  sweeps there:")[0] == printed


def test_a_byte_order_mark_is_not_part_of_the_first_key(tmp_path) -> None:
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfname: x\n")
    assert read_file(tmp_path / "bom.yaml")[0].plain() == {"name": "x"}


@pytest.mark.parametrize("text", ["a: \x00", "a: \x07", "a: \ud800", 'a: "\\ud800"'])
def test_characters_that_yaml_forbids_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="not YAML"):
        read_text(text, "f.yaml")
