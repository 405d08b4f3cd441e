#!/usr/bin/env bash
# Label maps of Datumaro 1.13.12 in the format of KITTI: the first class has the number of the pixels without a class.
#
# Behaviour: the exporter `kitti_segmentation` stores the position of a class among the categories, and 0 where a pixel has no
# class. The first category has the number 0, too, so that its objects cannot be told from the rest of the image. There is
# no error. The exporter of VOC adds a category `background` before them, this one does not.
# Guess that was wrong: an export of masks keeps all objects apart from what is around them.
# Consequence for us: none in the code, two equal numbers are one class. docs/data_dense.md says to begin the categories with
# a background.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check datumaro==1.13.12 >/dev/null 2>&1
"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2>/dev/null
import importlib.metadata
import sys

import datumaro
import numpy as np
from datumaro.components import media
from datumaro.components.annotation import Mask
from PIL import Image

folder = sys.argv[1]
print(f"datumaro {importlib.metadata.version('datumaro')}: a square of each class, 100 pixels, in 1024")
found = {}
for names in (["cat", "dog"], ["background", "cat", "dog"]):
    masks = []
    for at, name in enumerate(("cat", "dog")):
        mask = np.zeros((32, 32), dtype=bool)
        mask[4:14, 2 + 15 * at : 12 + 15 * at] = True
        masks.append(Mask(mask, label=names.index(name)))
    pixels = media.Image.from_numpy(data=np.zeros((32, 32, 3), dtype=np.uint8))
    item = datumaro.DatasetItem(id="a", subset="train", media=pixels, annotations=masks)
    out = f"{folder}/{len(names)}"
    datumaro.Dataset.from_iterable([item], categories=names).export(out, "kitti_segmentation", save_media=True)
    stored, counts = np.unique(np.array(Image.open(f"{out}/train/semantic/a.png")), return_counts=True)
    found[len(names)] = dict(zip(stored.tolist(), counts.tolist()))
    print(f"  categories {names}: pixels of every stored number {found[len(names)]}")
assert found == {2: {0: 924, 1: 100}, 3: {0: 824, 1: 100, 2: 100}}, "the behaviour has changed"
PYTHON
