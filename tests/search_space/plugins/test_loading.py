"""Loading of plug-ins: what a file may give, and each reason to refuse it, which leaves nothing behind."""

from __future__ import annotations

import sys

import pytest
import timm

from modelzoo import ATTENTION
from search_space import SpecError, load_sweep_text
from search_space.plugins import FAMILIES, contributed, load_plugin, load_shipped, loaded_plugins
from search_space.schema.attention import ATTENTION_SPECS

SWEEP = """
name: t
plugins: [NAME]
baseline: {arch: {depth: 2, embed_dim: 24, num_heads: 2, attention: ATTENTION}}
space: {arch.depth: [1, 2]}
design: one_factor
metric: top1
seeds: 1
"""


def sweep_of(attention, name="gated"):
    return load_sweep_text(SWEEP.replace("ATTENTION", attention).replace("NAME", name)).sweep


def refusal(path):
    """The message of a refused file; checks that it left nothing behind."""
    before = (list(sys.meta_path), set(ATTENTION), loaded_plugins())
    tables = {family: dict(contributed(family)) for family in FAMILIES}
    own = {name for name in sys.modules if name.partition(".")[0] == path.stem}
    with pytest.raises(SpecError) as caught:
        load_plugin(path)
    assert (list(sys.meta_path), set(ATTENTION), loaded_plugins()) == before
    assert {family: dict(contributed(family)) for family in FAMILIES} == tables
    assert {name for name in sys.modules if name.partition(".")[0] == path.stem} == own
    with pytest.raises(SpecError, match="unknown attention"):
        load_sweep_text(SWEEP.replace("plugins: [NAME]\n", "").replace("ATTENTION", "gated"))
    return str(caught.value).replace(str(path.parent), "HERE")


def test_options_are_those_of_the_constructor(write):
    plugin = load_plugin(write("gated.py"))
    assert (plugin.name, plugin.kind, dict(plugin.contributes)) == ("gated", "file", {"attention": ("gated",)})
    assert sweep_of("{name: gated, bias: 0.5}").baseline.arch.attention.bias == 0.5
    assert sweep_of("gated").baseline.arch.attention.bias == 1.0
    assert ATTENTION_SPECS["gated"].model_fields["bias"].description == "first value of the gates"
    with pytest.raises(SpecError) as caught:
        sweep_of("{name: gated, bia: 1}")
    assert "Did you mean 'bias'?" in str(caught.value)
    with pytest.raises(SpecError) as caught:
        sweep_of("gatd")
    assert "Did you mean 'gated'?" in str(caught.value)


def test_a_file_is_loaded_once(write, gated):
    path = write("gated.py")
    assert load_plugin(path) is load_plugin(path)
    write("gated.py", gated + "\nX = 1\n")
    with pytest.raises(SpecError, match="a plug-in 'gated' is loaded already, from "):
        load_plugin(path)


def test_a_folder_may_import_its_own_modules(write, gated):
    write("my_lab/__init__.py", "from .parts.mechanism import Gated\nPLUGINS = {'attention': {'gated': Gated}}\n")
    write("my_lab/parts/__init__.py", "")
    write("my_lab/parts/mechanism.py", "from ..base import *\nfrom my_lab.base import Gated\n")
    write("my_lab/base.py", gated)
    folder = write("my_lab/notes.txt", "no Python").parent
    plugin = load_plugin(folder)
    assert sorted(plugin.sources) == ["my_lab", "my_lab.base", "my_lab.parts", "my_lab.parts.mechanism"]
    assert sweep_of("{name: gated, bias: 0}", "my_lab").baseline.arch.attention.name == "gated"
    assert sys.modules["my_lab.base"].__file__ == str(folder / "base.py")


def test_a_folder_may_have_its_training_in_a_module(write):
    """As in `function: my_lab.training:train`. Models are not registered by a module that is not imported."""
    write("my_lab/__init__.py", "")
    write("my_lab/zoo.py", "@register_model\ndef my_model(pretrained=False, **kwargs): ...\n")
    with pytest.raises(SpecError, match="adds nothing"):
        load_plugin(write("my_lab/broken.py", "def x(:\n").parent)
    write("my_lab/training.py", "raise AssertionError('executed')\ndef train(config, report): ...\n")
    assert load_plugin(write("my_lab/__init__.py", "").parent).contributes == {}


def test_what_is_shipped_is_loaded_without_its_file(write):
    plugin = load_plugin(write("gated.py"))
    shipped = {**plugin.shipped(), "name": "other", "module": "other", "origin": "/nowhere/other.py"}
    shipped["sources"] = {"other": plugin.sources["gated"].replace('"gated"', '"other"')}
    load_shipped([plugin.shipped(), shipped])
    assert [each.name for each in loaded_plugins()] == ["gated", "other"]
    assert sweep_of("{name: other, bias: 2}").baseline.arch.attention.bias == 2.0
    with pytest.raises(SpecError, match="has other content here than where the run began"):
        load_shipped([{**plugin.shipped(), "sources": {"gated": "PLUGINS = {}"}}])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gated.py", "def f(:\n", "HERE/gated.py:1:7: is no Python: invalid syntax"),
        ("gated.py", "x = 1\n\nraise KeyError('a')\n", "HERE/gated.py:3: raised KeyError: "),
        ("gated.py", "import sys\nsys.exit(0)\n", "HERE/gated.py:2: raised SystemExit: 0"),
        ("gated.py", "import no_such_module\n", "HERE/gated.py:1: raised ModuleNotFoundError: No module named"),
        ("gated.py", "x = 1\n", "HERE/gated.py: adds nothing\n  end it with a table of what it adds, such as PLUGINS"),
        ("gated.py", "PLUGINS = []\n", "HERE/gated.py: PLUGINS must be a mapping of mappings"),
        ("gated.py", "PLUGINS = {'attention': ['a']}\n", "HERE/gated.py: PLUGINS must be a mapping of mappings"),
        ("gated.py", "PLUGINS = {'atention': {}}\n", "there is no family 'atention'"),
        ("gated.py", "PLUGINS = {'attention': {'gated': 5}}\n", "the attention 'gated' must be a class on"),
        ("gated.py", "PLUGINS = {'attention': {'gated': dict}}\n", "attention 'gated'"),
        ("gated.py", "PLUGINS = {'attention': {'a b': int}}\n", "'a b' cannot be the name of a member of 'attention'"),
        ("gated.py", "PLUGINS = {'attention': {'softmax': int}}\n", "archsweep has the attention 'softmax' itself"),
        ("json.py", "PLUGINS = {}\n", "HERE/json.py: its name is that of the module 'json' ("),
        ("torch.py", "PLUGINS = {}\n", "HERE/torch.py: its name is that of the module 'torch' ("),
        ("my-file.py", "PLUGINS = {}\n", "'my-file' cannot be the name of a plug-in"),
        ("gated.txt", "PLUGINS = {}\n", "HERE/gated.txt: is no Python file"),
        ("gated.py", "x = '\0'\n", "HERE/gated.py"),
    ],
)
def test_a_file_is_refused(write, name, text, message):
    assert message in refusal(write(name, text))


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("bias=1.0", "option 'bias' of attention 'gated' has no annotation\n  write its type: bias: float = 1.0"),
        ("bias: object = 1", "option 'bias' of attention 'gated': object cannot be written in a sweep"),
        ("bias: list[int] = (1,)", "a list would be changed by one trial for the next: write tuple[..., ...]"),
        ("bias: Missing = 1", "the annotations of attention 'gated' cannot be read: name 'Missing' is not defined"),
        ("bias: int = 'a'", "default of option 'bias' of attention 'gated': Input should be a valid integer"),
        ("blocks: int = 1", "option 'blocks' of attention 'gated': the name is archsweep's own"),
        (
            "bias: Annotated[int, Field(gt=5)] = 1",
            "default of option 'bias' of attention 'gated': Input should be greater than 5",
        ),
        (
            "need: int, bias: Annotated[int, Field(gt=5)] = 1",
            "default of option 'bias' of attention 'gated': Input should be greater than 5",
        ),
        ("bias: Annotated[int, Field(gt='a')] = 1", "options of attention 'gated': "),
    ],
)
def test_an_option_is_refused(write, gated, parameter, message):
    text = "from __future__ import annotations\nfrom typing import Annotated\nfrom pydantic import Field\n" + gated
    assert message in refusal(write("gated.py", text.replace("bias: float = 1.0", parameter)))


def test_what_a_file_prints_is_no_part_of_what_a_verb_writes(write, gated, capsys):
    load_plugin(write("gated.py", f"print('loading')\n{gated}"))
    assert tuple(capsys.readouterr()) == ("", "loading\n")


def test_no_such_file(tmp_path):
    assert "HERE/gated.py: no such file" in refusal(tmp_path / "gated.py")


def test_a_folder_needs_an_init(write):
    assert "HERE/gated: has no __init__.py" in refusal(write("gated/part.py").parent)


def test_the_line_of_a_module_within_a_folder_is_named(write):
    write("gated/part.py", "x = 1\nraise ValueError('no')\n")
    assert "HERE/gated/part.py:2: raised ValueError: no" in refusal(
        write("gated/__init__.py", "from . import part").parent
    )


def test_a_neighbour_is_refused(write, gated):
    write("beside.py", "x = 1\n")
    message = refusal(write("gated.py", "import beside\n" + gated))
    assert "HERE/gated.py:1: imports 'beside', a file beside it, which does not travel to other machines" in message


@pytest.mark.parametrize("beside", ["archsweep/__init__.py", "results/__init__.py", "search_space.py", "timm.py"])
def test_what_is_installed_is_not_taken_for_the_file_of_its_name(write, gated, beside):
    """A plug-in in a checkout of archsweep, or beside packages of one's own that are called as installed ones are."""
    write(beside, "raise AssertionError('executed')\n")
    imports = "import results, timm\nfrom search_space.schema.metrics import PredictionMetric\n"
    assert load_plugin(write("gated.py", imports + gated)).contributes == {"attention": ("gated",)}


def test_two_plugins_of_one_name_or_member(write, gated):
    load_plugin(write("gated.py"))
    with pytest.raises(SpecError, match="a plug-in 'gated' is loaded already, from "):
        load_plugin(write("other/gated.py", gated + "x = 1\n"))
    with pytest.raises(SpecError, match=r"PLUGINS: the attention 'gated' is that of .*gated.py already"):
        load_plugin(write("second.py"))
    assert [each.name for each in loaded_plugins()] == ["gated"]
    assert sweep_of("gated").baseline.arch.attention.name == "gated"


def test_a_model_of_timm_is_not_replaced(write):
    text = "from timm.models import register_model\n@register_model\ndef resnet18(pretrained=False):\n    pass\n"
    message = refusal(write("my_models.py", text))
    assert timm.models.model_entrypoint("resnet18").__module__ == "timm.models.resnet"
    assert "registers models that timm or another plug-in has already: resnet18" in message


def test_a_refused_file_can_be_mended_and_loaded(write):
    """In a notebook: the model that the first attempt has registered is not held against the second."""
    text = "from timm.models import register_model\n@register_model\ndef mended_net(pretrained=False):\n    pass\n"
    assert "raised ZeroDivisionError" in refusal(write("my_models.py", text + "1 / 0\n"))
    assert load_plugin(write("my_models.py", text)).contributes == {"model": ("mended_net",)}
