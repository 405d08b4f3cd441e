"""Cost of the survey of a dataset of many image files: first look, second look, and what every trial pays again.

python benchmarks/data_checks.py --files 100000 --side 32
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from runners.data import describe_dataset
from runners.data.readers import image_facts
from runners.data.survey.survey import survey_dataset
from search_space import Resources
from search_space.schema.trial import TaskSpec


def make(root: Path, files: int, side: int) -> None:
    """Class folders of JPEGs of noise, every tenth of them for testing."""
    random = np.random.default_rng(0)
    for number in range(files):
        split = "validation" if number % 10 == 0 else "train"
        folder = root / "many" / split / f"class{number // 10 % 100:02}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=32, help="of each image, in pixels")
    arguments = parser.parse_args()
    task = TaskSpec.model_validate({"dataset": {"name": "folder/many"}})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["ARCHSWEEP_CACHE"] = str(root / "cache")
        make(root / "data", arguments.files, arguments.side)
        time.sleep(2.1)  # files of this moment would be decoded again
        resources = Resources(data_dir=str(root / "data"))

        def seconds_of(look: str) -> None:
            image_facts.forget()
            began = time.perf_counter()
            (describe_dataset if look == "description" else survey_dataset)(task, resources)
            print(f"{look:28}{time.perf_counter() - began:9.2f}")

        print(f"{arguments.files} JPEGs of {arguments.side} x {arguments.side} pixels\n{'':28}{'seconds':>9}")
        for look in ("first look", "second look", "description"):
            seconds_of(look)
        size = sum(path.stat().st_size for path in (root / "cache").rglob("*.msgpack"))
        print(f"kept facts: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
