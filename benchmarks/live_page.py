"""How `archsweep serve` bears many runs and many trials: seconds until answers, and memory of the server.

The records are real, as in ledger_scale.py: a small run is trained first and multiplied. The server is a process of its
own and is asked over HTTP, one request after another. `first` is the first request after its start, `again` the median
of 20 later ones, `unchanged` those that a browser sends every two seconds (If-None-Match), `grown` the first answer of
the list of versions after a record was appended, `during` the slowest answer of the overview while figures are made.

    python benchmarks/live_page.py --runs 100 --trials 100
    python benchmarks/live_page.py --runs 1 --trials 10000
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ledger_scale import ROOT, trained, write_run


class Client:
    """Requests to one server, with its token."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._headers = {"Cookie": f"archsweep-{port}={token}"}

    def get(self, address: str, tag: str = "") -> tuple[float, http.client.HTTPResponse, str]:
        """Seconds, the answer and its text."""
        began = time.perf_counter()
        self._connection.request("GET", address, headers=self._headers | ({"If-None-Match": tag} if tag else {}))
        answer = self._connection.getresponse()
        text = answer.read().decode()
        return time.perf_counter() - began, answer, text


def measured(client: Client, page: str) -> dict[str, float]:
    """Times of a page and of its list of versions, in milliseconds."""
    first, *again = [client.get(page)[0] for _ in range(21)]
    _, answer, _ = client.get(f"{page.rstrip('/')}/versions")
    unchanged = [client.get(f"{page.rstrip('/')}/versions", answer.headers["ETag"])[0] for _ in range(20)]
    times = {"first": first, "again": statistics.median(again), "unchanged": statistics.median(unchanged)}
    return {name: 1000 * seconds for name, seconds in times.items()}


def memory(pid: int) -> float:
    """Present memory of the process in MiB."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--trials", type=int, default=100, help="of each run, a multiple of 4")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        small = trained(Path(scratch) / "small")
        folder = Path(scratch) / "runs"
        for number in range(arguments.runs):
            write_run(folder / f"run{number:03d}", small, arguments.trials)
        command = [sys.executable, "-m", "runners.cli", "serve", str(folder), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            assert server.stdout is not None
            address = next(line for line in server.stdout if "token=" in line)
            port, token = re.findall(r":(\d+)/\?token=(\S+)", address)[0]
            report(Client(int(port), token), folder, server.pid)
        finally:
            server.terminate()
            server.wait()


def report(client: Client, folder: Path, pid: int) -> None:
    print(f"start: {memory(pid):.0f} MiB")
    overview = measured(client, "/")
    began = time.perf_counter()
    while "being read" in (text := client.get("/")[2]):
        time.sleep(0.05)
    print(f"overview: {shown(overview)}; whole after {time.perf_counter() - began + overview['first'] / 1000:.2f} s")
    print(f"overview read: {memory(pid):.0f} MiB")
    page, name = re.findall(r'href="(/run/[0-9a-f]+)">([^<]+)<', text)[0]
    began = time.perf_counter()
    print(f"run: {shown(measured(client, page))}")
    slowest = 0.0
    for part in ("table", "figures"):
        while json.loads(client.get(f"{page}/versions")[2])[part].endswith("-"):
            slowest = max(slowest, client.get("/")[0])
            time.sleep(0.1)
        print(f"{part} made after {time.perf_counter() - began:.1f} s")
    print(f"during: {1000 * slowest:.0f} ms; {memory(pid):.0f} MiB")
    print(f"trials: {shown(measured(client, f'{page}/trials'))}")
    trial = re.findall(rf'href="({page}/trial/[0-9a-f]+)"', client.get(f"{page}/trials")[2])[0]
    print(f"trial: {shown(measured(client, trial))}")
    ledger = folder / name / "ledger.jsonl"
    line = ledger.read_bytes().splitlines(keepends=True)[-1]
    with ledger.open("ab") as stream:
        stream.write(line)
    before = client.get(f"{page}/versions")[1].headers["ETag"]
    began = time.perf_counter()
    while json.loads(client.get(f"{page}/versions", before)[2] or '{"state": "-"}')["state"].endswith("-"):
        time.sleep(0.01)
    print(f"grown: {1000 * (time.perf_counter() - began):.0f} ms until the state is that of the longer ledger")
    print(f"end: {memory(pid):.0f} MiB")


def shown(times: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f} ms" for name, value in times.items())


if __name__ == "__main__":
    main()
