"""What counts of source files: words do not, what is remembered is of their content, and damage is parsed again."""

from __future__ import annotations

import json

import pytest

from runners.cache import code_parts
from runners.cache.code_parts import code_part, remember_code_parts

CODE = b"from modelzoo.attention import softmax\nimport os\n\ndef f():\n    import runners.tasks\n    return 1\n"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHSWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(code_parts, "_KNOWN", code_parts._Known())
    return tmp_path / "cache" / "code_parts.json"


@pytest.fixture
def another_process(monkeypatch):
    return lambda: monkeypatch.setattr(code_parts, "_KNOWN", code_parts._Known())


def test_imports_of_ours_are_found_at_any_depth():
    assert code_part(CODE).names == {"modelzoo.attention", "modelzoo.attention.softmax", "runners.tasks"}


@pytest.mark.parametrize(
    ("code", "is_same"),
    [
        (b"# A comment.\n" + CODE, True),
        (b'"""A docstring."""\n' + CODE, True),
        (CODE.replace(b"    return", b'    "Docstring?"\n    return'), False),  # not the first statement
        (CODE.replace(b"return 1", b"return (1)"), True),
        (CODE.replace(b"return 1", b"return 2"), False),
        (CODE.decode(), True),
    ],
)
def test_words_and_layout_do_not_count(code, is_same):
    assert (code_part(code).digest == code_part(CODE).digest) is is_same


def test_what_is_no_python_counts_by_its_text():
    assert code_part(b"{{ jinja }}") != code_part(b"{{ jinja2 }}")


def test_another_process_reads_what_was_found(cache, another_process):
    found = code_part(CODE)
    remember_code_parts()
    (key,) = json.loads(cache.read_text())
    cache.write_text(json.dumps({key: [["modelzoo.x"], "digest of the cache"]}))
    another_process()
    assert code_part(CODE).digest == "digest of the cache"
    assert code_part(CODE + b"pass\n").digest != found.digest  # another content is another entry


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": ["b"]}', "null"])
def test_a_damaged_file_is_as_none(cache, another_process, content):
    found = code_part(CODE)
    cache.parent.mkdir(parents=True)
    cache.write_text(content)
    another_process()
    assert code_part(CODE) == found
    remember_code_parts()
    assert len(json.loads(cache.read_text())) == 1


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, another_process):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ARCHSWEEP_CACHE", str(tmp_path / "file" / "cache"))
    another_process()
    code_part(CODE)
    remember_code_parts()
