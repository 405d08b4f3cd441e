"""Imports of search_space: no heavy library, so that a sweep is checked without delay."""

from __future__ import annotations

import subprocess
import sys


def test_checking_a_sweep_loads_nothing_heavy(tmp_path) -> None:
    (tmp_path / "s.yaml").write_text("name: s\nbaseline: {}\nspace: {arch.depth: [2, 4]}\ndesign: factorial\n")
    program = (
        "import sys, search_space\n"
        f"sweep = search_space.load_sweep({str(tmp_path / 's.yaml')!r}).sweep\n"
        "assert len(list(search_space.variants(sweep))) == 3\n"
        "search_space.json_schema(); search_space.template('x')\n"
        "heavy = {'torch', 'ray', 'optuna', 'numpy', 'timm', 'scipy', 'pandas', 'rich', 'typer'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
