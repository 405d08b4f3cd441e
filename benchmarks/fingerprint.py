"""Cost of the fingerprint of a dataset of many files: first look, second look, and beside what a run does anyway.

python benchmarks/fingerprint.py --files 100000 --bytes 4096
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from runners.data.fingerprint import fingerprint
from runners.data.sources import source_of
from runners.machine.file_digests import FileDigests
from search_space import Resources
from search_space.schema.trial import ClassificationSpec


def make(root: Path, files: int, size: int) -> None:
    """Class folders of files that are images by name only: nothing here decodes them."""
    for number in range(files):
        folder = root / "many" / ("validation" if number % 10 == 0 else "train") / f"class{number % 100:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(os.urandom(size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--bytes", type=int, default=4096, help="of each file")
    arguments = parser.parse_args()
    task = ClassificationSpec.model_validate({"dataset": {"name": "folder/many"}})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root / "data", arguments.files, arguments.bytes)
        time.sleep(2.1)  # files of this moment would be read again
        resources = Resources(data_dir=str(root / "data"))
        began = time.perf_counter()
        source_of(task.dataset).open(task.dataset, resources)
        scan = time.perf_counter() - began
        print(f"{arguments.files} files of {arguments.bytes} bytes")
        print(f"{'':28}{'seconds':>9}{'/ scan':>9}")
        print(f"{'scan by timm (in any run)':28}{scan:9.2f}{1:9.2f}")
        digests = set()
        for look in ("first look", "second look"):
            known = FileDigests(root / "index")
            began = time.perf_counter()
            found = fingerprint(task, resources, known)
            seconds = time.perf_counter() - began
            digests.add(found.digest)
            print(f"{look:28}{seconds:9.2f}{seconds / scan:9.2f}")
        assert len(digests) == 1
        size = sum(path.stat().st_size for path in (root / "index").iterdir())
        print(f"kept digests: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
