"""The plug-ins that a sweep names: loaded if installed, or if the user has allowed the file; else explained."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search_space import SpecError, load_sweep
from search_space.plugins import loaded_plugins

ROOT = Path(__file__).parents[3]
SWEEP = """
name: t
plugins: [my_lab]
baseline: {arch: {depth: 2, embed_dim: 24, num_heads: 2, attention: {name: gated, bias: 0.25}}}
space: {arch.depth: [1, 2]}
design: one_factor
metric: top1
seeds: 1
"""
CHECK = "from search_space import load_sweep; print(load_sweep('s.yaml').sweep.baseline.arch.attention)"


@pytest.fixture
def sweep(write):
    return write("s.yaml", SWEEP)


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Writes the user's configuration."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "archsweep").mkdir(parents=True)
    return (tmp_path / "config" / "archsweep" / "config.toml").write_text


def python(tmp_path, code):
    """A fresh interpreter in which the folder `site` is on the path, as an installed package is."""
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "XDG_CONFIG_HOME": str(tmp_path / "none")}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def installed(write, gated):
    """A distribution as pip leaves it: a package, and its metadata with an entry point."""
    write("site/my_lab/__init__.py", "")
    write("site/my_lab/plugins.py", gated)
    about = "site/my_lab-1.0.dist-info"
    write(f"{about}/METADATA", "Metadata-Version: 2.1\nName: my_lab\nVersion: 1.0\n")
    write(f"{about}/entry_points.txt", "[archsweep.plugins]\nmy_lab = my_lab.plugins\n")
    write(f"{about}/RECORD", "my_lab/__init__.py,,\nmy_lab/plugins.py,,\n")


@pytest.mark.slow
def test_an_installed_plugin_is_loaded_by_its_name(sweep, installed, tmp_path):
    done = python(tmp_path, CHECK + "; from search_space.plugins import *; print(loaded_plugins()[0].described())")
    assert done.stderr == ""
    shown, described = done.stdout.splitlines()
    assert "bias=0.25" in shown
    assert "'kind': 'installed', 'origin': 'my_lab 1.0'" in described


@pytest.mark.slow
def test_verbs_without_a_sweep_show_an_installed_plugin_by_its_name(installed, tmp_path):
    show = "import sys; sys.argv = ['archsweep', 'models', {}]; from runners.cli import main; main()"
    unnamed = python(tmp_path, show.format("")).stdout
    assert "mechanisms and models are listed with: --plugin my_lab" in unnamed
    assert "gated" not in unnamed
    named = python(tmp_path, show.format("'--plugin', 'my_lab'")).stdout
    assert "gated" in named
    assert "listed with" not in named


def test_an_installed_plugin_that_raises_names_its_line(sweep, installed, write, tmp_path):
    file = write("site/my_lab/plugins.py", "x = 1\nraise ValueError('no')\n")
    done = python(tmp_path, CHECK)
    assert (
        f"s.yaml:3:11: plugins[0]: the plug-in 'my_lab' cannot be loaded: {file}:2: raised ValueError: no"
        in done.stderr
    )


def test_a_misspelt_name_is_corrected(sweep, installed, write, tmp_path):
    write("s.yaml", SWEEP.replace("my_lab", "my_lb"))
    done = python(tmp_path, CHECK)
    assert "Did you mean 'my_lab'?" in done.stderr


@pytest.mark.parametrize("options", [{"overrides": ["plugins=[theirs]"]}, {"profile": "p"}])
def test_an_override_and_a_profile_name_plugins_as_the_file_does(options, write, tmp_path):
    text = SWEEP.replace("plugins: [my_lab]", "profiles: {p: {plugins: [theirs]}}")
    with pytest.raises(SpecError, match="the plug-in 'theirs' is not loaded"):
        load_sweep(write("s.yaml", text), **options)


def test_the_users_configuration_allows_a_file(sweep, write, configured, gated):
    file = write("elsewhere/my_lab.py")
    with pytest.raises(SpecError, match="the plug-in 'my_lab' is not loaded, and no installed package has it"):
        load_sweep(sweep)
    configured(f'plugins = ["{file}"]\n')
    assert load_sweep(sweep).sweep.baseline.arch.attention.bias == 0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plugins = 'a'\n", "plugins must be a list of files"),
        ("plugin = []\n", "unknown key 'plugin'\n  known: plugins.  Did you mean 'plugins'?"),
        ("plugins = ['my_lab.py']\n", "'my_lab.py' is no absolute path"),
        ("plugins = ['/a/my_lab.py', '/b/my_lab.py']\n", "two plug-ins are named 'my_lab'"),
        ("plugins = [\n", "cannot be read: "),
    ],
)
def test_a_wrong_configuration_is_explained(sweep, configured, text, message):
    configured(text)
    with pytest.raises(SpecError) as caught:
        load_sweep(sweep)
    assert message in str(caught.value)
    assert "config.toml" in str(caught.value)


def test_the_module_of_a_function_needs_no_second_mention(write, configured, tmp_path):
    """The task `python` names it itself; that the user allows the file for good is enough."""
    file = write("my_training.py", "def train(config, report):\n    return {'score': 1.0}\n")
    configured(f"plugins = [{str(file)!r}]\n")
    path = tmp_path / "own.yaml"
    path.write_text(
        "name: own\nbaseline:\n  task: {name: python, function: my_training:train, config: {lr: 1}, "
        "measures: {score: maximize}}\nspace: {task.config.lr: [2]}\ndesign: one_factor\n"
    )
    load_sweep(path)
    assert "my_training" in {plugin.name for plugin in loaded_plugins()}


def test_a_file_beside_the_sweep_is_named_and_not_executed(sweep, write, configured, tmp_path):
    file = write("my_lab.py", f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    with pytest.raises(SpecError) as caught:
        load_sweep(sweep)
    assert f"if you trust it, allow the file beside the sweep: --plugin {file}" in " ".join(str(caught.value).split())
    assert not (tmp_path / "ran").exists()


SHIP = """
import json, sys
from search_space.plugins import load_installed, load_shipped, loaded_plugins
from search_space.schema.attention import ATTENTION_SPECS
if sys.argv[1] == "driver":
    print(json.dumps(load_installed("my_lab").shipped()))
else:
    load_shipped([json.loads(sys.argv[2])])
    print(loaded_plugins()[0].digest, list(ATTENTION_SPECS["gated"].model_fields))
"""


@pytest.fixture
def ship(tmp_path):
    """Runs `SHIP` as the driver, which has the package, or as a worker without it; the process."""

    def run(role, *words):
        places = [str(tmp_path / "site"), str(ROOT)] if role == "driver" else [str(ROOT)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
        line = [sys.executable, "-c", SHIP, role, *words]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.slow
def test_an_installed_plugin_travels_to_a_machine_without_its_package(installed, ship):
    shipped = ship("driver").stdout
    there = ship("worker", shipped)
    assert there.stderr == ""
    assert there.stdout.split(maxsplit=1)[1] == "['name', 'blocks', 'bias']\n"


@pytest.mark.slow
def test_compiled_parts_do_not_travel(installed, ship, tmp_path):
    (tmp_path / "site" / "my_lab" / "fast.cpython-311-x86_64-linux-gnu.so").write_bytes(b"\x7fELF")
    there = ship("worker", ship("driver").stdout)
    assert "the plug-in 'my_lab' (my_lab 1.0) has compiled parts, which do not travel" in there.stderr
    assert "install its package on every machine of the cluster" in there.stderr
