#!/usr/bin/env bash
# A tar file that was cut off: Python's tarfile reads what is left, without an error.
#
# Behaviour: an archive ends with blocks of zeros. `tarfile` takes the end of the file, and any header that it cannot read
# after the first one, for that end: an archive that was cut off between two members, or has a damaged header in its
# middle, is a shorter archive. Only a cut inside the content of a member that is not the last is an error. GNU tar warns
# of neither where the cut is between two members. Guess that was wrong: iterating over a damaged archive raises.
# Consequence for us: webdataset reads with tarfile, so half a shard trained as a whole one. The index of a shard looks for
# the block of zeros behind the last member (runners/data/readers/shard_index.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 - "$folder" <<'PYTHON'
import io
import sys
import tarfile

path = f"{sys.argv[1]}/a.tar"
with tarfile.open(path, "w") as out:
    for number in range(4):
        entry = tarfile.TarInfo(f"{number}.txt")
        entry.size = 100
        out.addfile(entry, io.BytesIO(b"x" * 100))
whole = open(path, "rb").read()
damages = {"whole": whole, "cut between two members": whole[:2048], "damaged header": whole[:2048] + b"x" * 512 + whole[2560:]}
for name, content in damages.items():
    open(path, "wb").write(content)
    with tarfile.open(path) as archive:
        print(f"{name}: {archive.getnames()}")
PYTHON
