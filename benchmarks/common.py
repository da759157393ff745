"""What the benchmarks share: real rows, a work folder, and how a figure is printed."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ruie_components import Example, Query

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("RUIE_DATA", ROOT.parent / "shared" / "data"))
WORK = Path(os.environ.get("RUIE_BENCHMARKS", ROOT / ".benchmarks"))
OURS, RAW = WORK / "ours", WORK / "raw"
COLLECTION = "demonstrations"  # of the raw Chroma database: all tasks in one, as LangChain's tutorials have it


def demonstrations(count: int) -> Iterator[Example]:
    """Distinct training rows, one of each data set in turn, so that the tasks are mixed."""
    files = sorted(DATA.glob("*/*/train.jsonl.gz"))
    if not files:
        raise SystemExit(f"no data in {DATA}: set RUIE_DATA")
    seen: set[str] = set()
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*map(_rows, files)))
    for example in in_turn:
        if example is not None and example.content_id not in seen:
            seen.add(example.content_id)
            yield example
            if len(seen) == count:
                return


def queries(count: int) -> list[Query]:
    """Named-entity queries: test rows, one of each data set in turn."""
    files = sorted(DATA.glob("NER/*/test.jsonl.gz"))
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*map(_rows, files)))
    return [example.query for example in itertools.islice((each for each in in_turn if each is not None), count)]


def _rows(path: Path) -> Iterator[Example]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield Example.model_validate(json.loads(line))


def peak_memory() -> float:
    """The most memory that this process has had resident, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def machine() -> str:
    """The machine in a line, with how busy it was."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{names[0].split(': ')[1]}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load}"


def in_new_process(script: str, *arguments: str) -> str:
    """Run a part of a benchmark in a process of its own, and give what it prints."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def report(what: str, ratio: float, goal: str, **figures: float) -> None:
    """Print a line: what was measured, the figures, and their ratio beside the goal."""
    values = ", ".join(f"{name} {value:,.4g}" for name, value in figures.items())
    print(f"{what}: {values}; ratio {ratio:.2f} (goal {goal}) [{machine()}]", flush=True)
