#!/usr/bin/env bash
# VOC -> COCO by Datumaro 1.13.12: annotations of different images have the same ids.
#
# Behaviour: a folder in the format of Pascal VOC is imported with ids of objects that differ within their image only, and the
# exporter `coco_instances` keeps them as `id` of the annotations, which in COCO's format differ in the whole file. Readers that
# keep annotations by id (pycocotools: `COCO.anns`) have one annotation of each number left: 4 of 6 here.
# `reindex=True` of the export numbers them through; it is off by default.
# Guess that was wrong: a converter writes ids that are unique in the file, because the format needs them.
# Consequence for us: equal ids in different images are counted in a note; in one image they are refused
# (runners/data/detection/coco_file.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check datumaro==1.13.12 pycocotools >/dev/null 2>&1
"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2>/dev/null
import collections
import contextlib
import importlib.metadata
import io
import json
import sys

import datumaro
import numpy as np
from datumaro.components.annotation import Bbox
from datumaro.components.media import Image
from pycocotools.coco import COCO

folder = sys.argv[1]
pixels = np.zeros((32, 32, 3), dtype=np.uint8)
items = [
    datumaro.DatasetItem(
        id=name,
        subset="train",
        media=Image.from_numpy(data=pixels),
        annotations=[Bbox(4 * at, 4, 8, 8, label=at % 2) for at in range(number)],
    )
    for name, number in (("a", 1), ("b", 2), ("c", 3))
]
boxes = datumaro.Dataset.from_iterable(items, categories=["cat", "dog"])
boxes.export(f"{folder}/voc", "voc_detection", save_media=True)
print(f"datumaro {importlib.metadata.version('datumaro')}: 6 objects in 3 images")
distinct = {}
for name, options in (("default", {}), ("reindex", {"reindex": True})):
    read = datumaro.Dataset.import_from(f"{folder}/voc", "voc")
    read.export(f"{folder}/{name}", "coco_instances", save_media=True, **options)
    path = f"{folder}/{name}/annotations/instances_train.json"
    written = [(each["image_id"], each["id"]) for each in json.load(open(path))["annotations"]]
    with contextlib.redirect_stdout(io.StringIO()):
        kept = len(COCO(path).anns)
    distinct[name] = (len(written), kept)
    print(f"  {name}: (image, id) of the annotations {written}; pycocotools keeps {kept} of {len(written)} by id")
assert distinct == {"default": (6, 4), "reindex": (6, 6)}, "the behaviour has changed"
PYTHON
