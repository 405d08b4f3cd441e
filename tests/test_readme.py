"""What the README shows must be true: the sweep file in it loads, the files it links exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from search_space import load_sweep_text, variants

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_sweep_in_the_readme_loads():
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert len(list(variants(load_sweep_text(text).sweep))) == 6


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_linked_files_exist(link):
    assert (ROOT / link).exists()


def test_every_command_of_the_readme_exists():
    from runners.cli.app import app

    known = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    shown = set(re.findall(r"`archsweep ([a-z-]+)", README))
    assert shown <= known
