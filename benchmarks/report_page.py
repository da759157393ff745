"""How long a report of 1,000 results takes to open in headless Chromium. Goal: 2 s until its load event.

python benchmarks/report_page.py               # makes the page, by the offline baseline with 8 demonstrations each
python benchmarks/report_page.py A.html B.html # these pages, in turn, such as one page of two versions
"""

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import WORK, demonstrations, machine, queries
from websockets.sync.client import ClientConnection, connect

from ruie_components import DemonstrationStore, Extractor, report

ROUNDS = 7
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
TIMES = """(() => {
  const page = performance.getEntriesByType("navigation")[0];
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return JSON.stringify({load: page.loadEventStart, paint: paint.startTime,
    elements: document.getElementsByTagName("*").length});
})()"""


def main(pages: list[Path]) -> None:
    seconds: dict[Path, list[dict[str, float]]] = {page.resolve(): [] for page in pages or [make()]}
    with chromium() as address:
        for _ in range(ROUNDS):
            for page, runs in seconds.items():
                runs.append(opened(page, address))
    for page, runs in seconds.items():
        load = [run["load"] / 1000 for run in runs]
        paint = statistics.median(run["paint"] for run in runs) / 1000
        size = f"{page.stat().st_size / 1e6:.1f} MB, {runs[0]['elements']:,} elements"
        spread = f"load {min(load):.2f} to {max(load):.2f} s, p50 {statistics.median(load):.2f} (goal 2)"
        print(f"{page.name}: {size}; first paint p50 {paint:.2f} s, {spread} [{machine()}]")


def make() -> Path:
    page = WORK / "report.html"
    with DemonstrationStore.create(demonstrations(5000)) as store:
        results = Extractor(store, "baseline", k=8).extract_many(queries(1000))
    return report.write(page, results)


@contextmanager
def chromium() -> Iterator[str]:
    """A headless Chromium with an empty profile; gives the address of its debugging interface."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        raise SystemExit("Chromium is not installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                port = next(found[1] for line in process.stderr if (found := re.search(r"ws://127.0.0.1:(\d+)/", line)))
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()


def opened(page: Path, address: str) -> dict[str, float]:
    """Open a page in a new tab: milliseconds until its first paint and its load event, and its number of elements."""
    new = urllib.request.Request(f"{address}/json/new?about:blank", method="PUT")
    tab = json.loads(urllib.request.urlopen(new).read())
    with connect(tab["webSocketDebuggerUrl"], proxy=None) as tools:
        call(tools, "Page.enable")
        call(tools, "Page.navigate", url=page.as_uri())
        while json.loads(tools.recv(timeout=120)).get("method") != "Page.loadEventFired":
            pass
        times = json.loads(call(tools, "Runtime.evaluate", expression=TIMES)["result"]["value"])
        call(tools, "Page.close")
    return times


def call(tools: ClientConnection, method: str, **parameters: object) -> dict:
    tools.send(json.dumps({"id": 1, "method": method, "params": parameters}))
    while (answer := json.loads(tools.recv(timeout=120))).get("id") != 1:
        pass
    return answer["result"]


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
