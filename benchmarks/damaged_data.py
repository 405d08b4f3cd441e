"""Damaged datasets for `fuzz.py`: class folders and WebDataset shards, with bytes, names, labels and numbers changed.

A dataset that is read must be read whole: the images that a program counts here on its own, by their names, are those
that the survey counts and that the batches hold.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from runners.data import load_data
from runners.data.survey.survey import survey_dataset
from search_space import Resources
from search_space.schema.trial import ClassificationSpec, TimmDatasetSpec, TrainSpec

FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "bmp": "BMP", "gif": "GIF", "tif": "TIFF", "ppm": "PPM"}
CLASSES = ("ant", "bee")
NUM_IMAGES = {"train": 6, "validation": 4}
LABELS = (b"", b"-1", b"2", b"cat", b"1.0", b"\xff", b"9" * 40, b"0", b"1", b" 1\n", b"[1]", b"null", b"\x00")
NUMBERS = ("0", "-1", "7", "1e9", "null", '"6"', "[]", "6.0", "9" * 30)
NAMES = ("", "x", ".png", "..", "a/b.png", "0.png", "\u00e9.png", "0.PNG", "0.jpg", "0.json", "0.a.png", "__x__", "0")


def try_data(dice: random.Random, directory: Path) -> None:
    """One damaged dataset, looked at and read.

    Raises:
        SpecError: it is refused.
        AssertionError: it is read, and not whole.
    """
    root = directory / "data"
    shutil.rmtree(root, ignore_errors=True)
    kind = dice.choice((_folders, _shards, _shards))
    count = kind(dice, root / "toy")
    name = "folder/toy" if kind is _folders else "wds/toy"
    task = ClassificationSpec(dataset=TimmDatasetSpec(name=name, num_classes=2))
    resources = Resources(data_dir=str(root))
    survey = survey_dataset(task, resources)
    found = survey.train.images, survey.test.images
    expected = count("train"), count("validation")
    assert found == expected, f"{found} images, and there are {expected}"
    assert (sum(survey.train.counts), sum(survey.test.counts)) == expected
    limit = dice.choice((0, 1 << 30))
    shape: dict[str, Any] = {"img_size": (8, 8), "seed": 0, "in_memory_bytes": limit}
    data = load_data(task, TrainSpec(batch_size=2), resources, torch.device("cpu"), **shape)
    assert sum(len(labels) for _, labels in data.test) == expected[1]
    assert sum(len(labels) for _, labels in data.train.epoch(1)) == expected[0] // 2 * 2


def _image(seed: int, kind: str) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.RandomState(seed).randint(0, 256, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(stream, FORMATS[kind])
    return stream.getvalue()


def _damaged(dice: random.Random, content: bytes) -> bytes:
    """The content with bytes flipped, cut off, repeated or gone."""
    if not content:
        return b"\x00" * dice.randrange(3)
    at = dice.randrange(len(content))
    match dice.randrange(5):
        case 0:
            return content[:at] + bytes([content[at] ^ (1 << dice.randrange(8))]) + content[at + 1 :]
        case 1:
            return content[:at]
        case 2:
            return b""
        case 3:
            return content[:at] + content[at + dice.randrange(600) :]
        case _:
            return content[:at] + dice.randbytes(dice.randrange(1, 20)) + content[at:]


def _folders(dice: random.Random, root: Path) -> Callable[[str], int]:
    files = []
    for split, count in NUM_IMAGES.items():
        for index in range(count):
            kind = dice.choice(list(FORMATS))
            path = root / split / CLASSES[index % 2] / f"{index}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_image(index + 100 * (split == "train"), kind))
            files.append(path)
    for _ in range(dice.randrange(3)):
        path = dice.choice(files)
        if not path.is_file():
            continue
        match dice.randrange(5):
            case 0:
                path.unlink()
            case 1:
                target = path.parent / dice.choice(("..", ".", "sub")) / (dice.choice(NAMES).strip(".") or "y")
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    path.rename(target)
            case _:
                path.write_bytes(_damaged(dice, path.read_bytes()))
    endings = re.compile(r"[^.].*\.(png|jpe?g|webp|bmp|gif|tiff?|p[pgb]m)", re.IGNORECASE | re.DOTALL)

    def count(split: str) -> int:
        found = (name for _, _, names in os.walk(root / split) for name in names)
        return sum(endings.fullmatch(name) is not None for name in found)

    return count


def _shards(dice: random.Random, root: Path) -> Callable[[str], int]:
    root.mkdir(parents=True)
    splits, members = {}, {}
    for split, count in NUM_IMAGES.items():
        for number in range(2):
            found = []
            for index in range(number * count // 2, (number + 1) * count // 2):
                kind = dice.choice(list(FORMATS))
                found.append((f"{index}.{kind}", _image(index + 100 * (split == "train"), kind)))
                label = str(index % 2).encode()
                labels = (f"{index}.cls", label), (f"{index}.json", b'{"label": ' + label + b"}")
                found.append(dice.choice(labels))
            members[f"{split}-{number}.tar"] = found
        names = [f"{split}-{number}.tar" for number in range(2)]
        splits[split] = {"name": split, "num_samples": count, "filenames": names, "shard_lengths": [count // 2] * 2}
    for _ in range(dice.randrange(3)):
        _change_members(dice, dice.choice(list(members.values())))
    for name, found in members.items():
        with tarfile.open(root / name, "w", format=dice.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))) as out:
            for member, content in found:
                entry = tarfile.TarInfo(member)
                entry.size = len(content)
                out.addfile(entry, io.BytesIO(content))
    text = json.dumps({"splits": splits})
    if dice.randrange(4) == 0:
        text = re.sub(r"\d+(?=[,\]}])", lambda each: dice.choice((each[0], each[0], dice.choice(NUMBERS))), text)
    if dice.randrange(8) == 0:
        text = _damaged(dice, text.encode()).decode(errors="replace")
    (root / "_info.json").write_text(text)
    if dice.randrange(3) == 0:
        path = root / dice.choice(list(members))
        path.write_bytes(_damaged(dice, path.read_bytes()))
    if dice.randrange(20) == 0:
        (root / dice.choice(list(members))).unlink()
    return lambda split: sum(_keys_with_an_image(root / f"{split}-{number}.tar") for number in range(2))


def _change_members(dice: random.Random, members: list[tuple[str, bytes]]) -> None:
    if not members:
        return
    at = dice.randrange(len(members))
    name, content = members[at]
    match dice.randrange(6):
        case 0:
            del members[at]
        case 1:
            members[at] = dice.choice(NAMES) or "y", content
        case 2:
            members[at] = name, dice.choice(LABELS)
        case 3:
            members.insert(dice.randrange(len(members)), members[at])
        case 4:
            other = dice.randrange(len(members))
            members[at], members[other] = members[other], members[at]
        case _:
            members[at] = name, _damaged(dice, content)


def _keys_with_an_image(path: Path) -> int:
    """Counted by the names in the archive, in another way than the reader's."""
    keys = set()
    with tarfile.open(path) as opened:
        for name in opened.getnames():
            folder, _, base = name.rpartition("/")
            key, dot, kind = base.partition(".")
            if key and dot and kind.lower() in {*FORMATS, "jpeg", "tiff", "pgm", "pbm"}:
                keys.add((folder, key))
    return len(keys)
