#!/usr/bin/env bash
# mkdocs-jupyter 0.26.3 with `execute: true`: a notebook that no longer runs passes `mkdocs build --strict`.
#
# Behaviour: by default the plug-in keeps the page of each executed notebook in `.cache/mkdocs-jupyter`, under a key of
# the notebook's bytes and the plug-in's options. Code that the notebook imports is not in the key, nor are data or
# versions of packages. When that code changes, the page shows the old result, and when it raises, the build still
# succeeds, also with `allow_errors: false` and `--clean`. The README states the key, but not that notebooks are then
# not executed.
# Guess that was wrong: `execute: true` executes the notebooks in each build, so that a strict build is a test of them.
# Consequence for us: `cache: false` (mkdocs.yml), because the notebooks of the documentation call archsweep.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    mkdocs-jupyter==0.26.3 mkdocs==1.6.1 ipykernel==7.4.0 >/dev/null 2>&1
cd "$folder"
mkdir docs
cat > docs/index.ipynb <<'JSON'
{"nbformat": 4, "nbformat_minor": 5,
 "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
 "cells": [{"cell_type": "code", "id": "a", "metadata": {}, "execution_count": null, "outputs": [],
            "source": ["import measured\n", "print('accuracy', measured.accuracy())"]}]}
JSON
export PATH="$folder/venv/bin:$PATH" PYTHONPATH="$folder" PYTHONDONTWRITEBYTECODE=1 NO_MKDOCS_2_WARNING=1

page() { # page CACHE: builds the site, prints what the page of the notebook shows
    echo "{site_name: a, plugins: [{mkdocs-jupyter: {execute: true, allow_errors: false, cache: $1}}]}" > mkdocs.yml
    if mkdocs build --strict --clean --quiet >/dev/null 2>&1; then
        echo "built: $(grep -o 'accuracy [0-9][0-9]' site/index.html)"
    else
        echo "the build fails"
    fi
}

python -c 'from importlib.metadata import version; print(*(f"{each} {version(each)}" for each in ("mkdocs", "mkdocs-jupyter")))'
echo 'def accuracy(): return 71' > measured.py
first=$(page true)
echo 'def accuracy(): return 83' > measured.py
changed=$(page true)
uncached=$(page false)
echo 'raise ImportError("removed")' > measured.py
broken=$(page true)
uncached_broken=$(page false)
echo "module returns 71: $first"
echo "module returns 83: $changed; with cache: false, $uncached"
echo "module raises:     $broken; with cache: false, $uncached_broken"
found="$first|$changed|$uncached|$broken|$uncached_broken"
expected="built: accuracy 71|built: accuracy 71|built: accuracy 83|built: accuracy 71|the build fails"
[ "$found" = "$expected" ] || { echo "the behaviour has changed" >&2; exit 1; }
