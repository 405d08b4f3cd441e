"""Cost of the survey of a dataset of many images: first look, second look, and what every trial pays again.

python benchmarks/data_checks.py --files 100000 --side 32
python benchmarks/data_checks.py --shards
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from runners.data import describe_dataset
from runners.data.readers import image_facts, shard_index
from runners.data.survey.survey import survey_dataset
from search_space import Resources
from search_space.schema.trial import ClassificationSpec

IN_A_SHARD = 5000


def images(files: int, side: int) -> Iterator[tuple[str, int, bytes]]:
    """Split, class and content of JPEGs of noise, every tenth of them for testing."""
    random = np.random.default_rng(0)
    for number in range(files):
        stream = io.BytesIO()
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(stream, "JPEG", quality=60)
        yield "train" if number % 10 else "validation", number // 10 % 100, stream.getvalue()


def make_folders(root: Path, files: int, side: int) -> None:
    for number, (split, label, content) in enumerate(images(files, side)):
        folder = root / "many" / split / f"class{label:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(content)


def make_shards(root: Path, files: int, side: int) -> None:
    (root / "many").mkdir(parents=True)
    names: dict[str, list[str]] = {"train": [], "validation": []}
    counts = {"train": 0, "validation": 0}
    out: dict[str, tarfile.TarFile] = {}
    for number, (split, label, content) in enumerate(images(files, side)):
        if counts[split] % IN_A_SHARD == 0:
            if split in out:
                out[split].close()
            names[split].append(f"{split}-{len(names[split]):03}.tar")
            out[split] = tarfile.open(root / "many" / names[split][-1], "w")  # noqa: SIM115
        counts[split] += 1
        for name, member in ((f"{number:07}.jpg", content), (f"{number:07}.cls", str(label).encode())):
            entry = tarfile.TarInfo(name)
            entry.size = len(member)
            out[split].addfile(entry, io.BytesIO(member))
    for archive in out.values():
        archive.close()
    splits = {split: {"filenames": names[split], "num_samples": counts[split]} for split in names}
    (root / "many" / "_info.json").write_text(json.dumps({"splits": splits}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=32, help="of each image, in pixels")
    parser.add_argument("--shards", action="store_true", help=f"WebDataset shards of {IN_A_SHARD} images")
    arguments = parser.parse_args()
    dataset = {"name": "wds/many", "num_classes": 100} if arguments.shards else {"name": "folder/many"}
    task = ClassificationSpec.model_validate({"dataset": dataset})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["ARCHSWEEP_CACHE"] = str(root / "cache")
        (make_shards if arguments.shards else make_folders)(root / "data", arguments.files, arguments.side)
        time.sleep(2.1)  # files of this moment would be decoded again
        resources = Resources(data_dir=str(root / "data"))

        def seconds_of(look: str) -> None:
            image_facts.forget()
            shard_index.forget()
            began = time.perf_counter()
            (describe_dataset if look == "description" else survey_dataset)(task, resources)
            print(f"{look:28}{time.perf_counter() - began:9.2f}")

        print(f"{arguments.files} JPEGs of {arguments.side} x {arguments.side} pixels\n{'':28}{'seconds':>9}")
        # Of shards the first description makes their index.
        looks = ("first look", "second look", "description")
        for look in ("description", *looks) if arguments.shards else looks:
            seconds_of(look)
        size = sum(path.stat().st_size for path in (root / "cache").rglob("*.msgpack"))
        print(f"kept facts: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
