#!/usr/bin/env bash
# Groups of tests with pytest 9.2: `--dist loadgroup` of pytest-xdist 3.8 ignores them, without a warning.
#
# Behaviour: pytest-xdist passes the name of a group from its workers to its scheduler as a suffix of the test's id, which it
# writes into a private attribute of the item. pytest 9.2.0 makes the id from another attribute, so the suffix is lost, and
# `--dist loadgroup` spreads the tests of one group over all workers like `--dist load`. With pytest 9.1.1 they run in one.
# pip installs the pair without a conflict. Guess that was wrong: tests with one `xdist_group` mark share a process, and the
# fixtures of the session in it, in every version that has the mark.
# Consequence for us: Ray started in both processes and module fixtures with whole sweeps ran twice; pytest is held below
# 9.2, and a test reads the suffix (tests/test_xdist_groups.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/test_group.py" <<'PYTHON'
import os
import time

import pytest


@pytest.mark.xdist_group("shared")
@pytest.mark.parametrize("number", range(12))
def test_one_of_a_group(number):
    time.sleep(0.05)
    with open(os.environ["SEEN"], "a") as seen:
        print(os.environ["PYTEST_XDIST_WORKER"], file=seen)
PYTHON
python3 -m venv "$folder/venv"
for version in 9.1.1 9.2.0; do
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "pytest==$version" pytest-xdist==3.8.0 >/dev/null
    rm -f "$folder/seen"
    (cd "$folder" && SEEN="$folder/seen" venv/bin/python -m pytest -q -p no:cacheprovider -n 2 --dist loadgroup test_group.py >/dev/null)
    count=$(sort -u "$folder/seen" | wc -l)
    echo "pytest $version, pytest-xdist 3.8.0: the 12 tests of one group ran in $count process(es)"
    expected=$([ "$version" = 9.1.1 ] && echo 1 || echo 2)
    [ "$count" = "$expected" ] || { echo "the behaviour has changed: $expected expected" >&2; exit 1; }
done
