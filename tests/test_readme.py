"""README: its sweep files load, its links exist, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from search_space import load_sweep, load_sweep_text, variants

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_sweeps_in_the_readme_load():
    texts = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert [len(list(variants(load_sweep_text(text).sweep))) for text in texts] == [4, 6, 3, 4]


def test_first_sweep_of_the_readme_trains_what_the_quickstart_trains():
    first = load_sweep_text(re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[0]).sweep
    shipped = load_sweep(ROOT / "sweeps" / "quickstart.yaml").sweep
    assert (first.seeds, [each.variant_id for each in variants(first)]) == (
        shipped.seeds,
        [each.variant_id for each in variants(shipped)],
    )


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_linked_files_exist(link):
    assert (ROOT / link).exists()


def test_every_command_of_the_readme_exists():
    from runners.cli.app import app

    known = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    shown = set(re.findall(r"`archsweep ([a-z-]+)", README))
    assert shown <= known
