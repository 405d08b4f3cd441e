"""Which files of a program are part of where its numbers come from: an edit of them makes its trials stale."""

from __future__ import annotations

import pytest

from runners.cache.origin import Origins
from runners.machine.file_digests import FileDigests
from search_space import Resources, SpecError
from search_space.schema.trial import Setting


@pytest.fixture
def code_of(tmp_path):
    """The code version of a program's setting, as it is now."""

    def code(*argv: str, **task) -> str:
        given = {"name": "command", "argv": argv, "measures": {"acc": "maximize"}, "metrics": {"json": "out.json"}}
        setting = Setting.model_validate({"task": {**given, **task}})
        resources = Resources(sweep_dir=str(tmp_path / "lab"))
        return Origins(resources, digests=FileDigests(tmp_path / "digests")).of(setting).code

    return code


@pytest.mark.parametrize(
    ("argv", "task"),
    [
        (["python", "a.py"], {}),
        (["python", "{script}"], {"config": {"script": "a.py"}}),
        (["python", "-m", "x", "--config=a.py"], {}),
        (["python", "a.py"], {"cwd": "../elsewhere"}),
    ],
)
def test_an_edit_of_a_file_that_an_argument_names_counts(argv, task, code_of, tmp_path):
    file = tmp_path / ("elsewhere" if "cwd" in task else "lab") / "a.py"
    (tmp_path / "lab").mkdir()
    file.parent.mkdir(exist_ok=True)
    file.write_text("one")
    before = code_of(*argv, **task)
    assert code_of(*argv, **task) == before
    file.write_text("two, of another size")
    assert code_of(*argv, **task) != before


def test_the_variants_of_a_script_have_their_own(code_of, tmp_path):
    (tmp_path / "lab").mkdir()
    for name in "ab":
        (tmp_path / "lab" / f"{name}.py").write_text(name)
    one, other = (code_of("python", "{script}", config={"script": f"{name}.py"}) for name in "ab")
    assert one != other


def test_a_missing_working_directory(code_of):
    with pytest.raises(SpecError, match=r"no such folder: .*/lab/gone"):
        code_of("python", "a.py", cwd="gone")
