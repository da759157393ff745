"""Rows a second of reading and writing each annotation format, and the memory that it takes.

    python benchmarks/formats.py --rows 100000
    python benchmarks/formats.py --rows 20000 --format conll --format brat

The rows are texts of the starter pool with named entities, repeated, each with an id of its own. ``Import`` reads every
format but jsonl twice, first for its labels. Times are processor time of this process, so that other programs on the
machine don't count; the memory is the most so far, formats before included. Formats whose package is missing are left
out. docbin and brat take minutes from 20,000 rows.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ruie_components import Example
from ruie_components.errors import RuieError
from ruie_components.formats import Import, export, formats, read_examples
from ruie_components.starter import starter_examples

NAMES = {
    "brat": "folder", "conll": "a.conll", "docbin": "a.spacy", "huggingface": "a.jsonl", "ie-instructions": "a.json",
    "label-studio": "a.json",
}  # fmt: skip
PART = 2000  # rows that are written at once, since all but jsonl hold them in memory


def rows_of(count: int, first: int = 0) -> Iterator[Example]:
    """Starter examples with ids."""
    starter = starter_examples("NER")
    for i in range(first, first + count):
        yield starter[i % len(starter)].model_copy(update={"id": f"row-{i}"})


def timed(run: Callable[[], Iterable[object]]) -> tuple[int, float]:
    """The number of items, and seconds of processor time."""
    start = time.process_time()
    count = sum(1 for _ in run())
    return count, time.process_time() - start


def written(path: Path, name: str, rows: int) -> float:
    """Write rows; a file of lines in parts that are joined. Gives the seconds that writing the first part took."""
    part = min(rows, PART)
    examples = list(rows_of(part))
    start = time.process_time()
    export(path, examples, name)
    seconds = time.process_time() - start
    if path.suffix in (".jsonl", ".conll"):
        content = path.read_bytes()
        with path.open("wb") as file:
            for _ in range(rows // part):
                file.write(content)
    elif rows > part:
        export(path, list(rows_of(rows)), name)
    return part / seconds


def measure(name: str, rows: int, folder: Path) -> None:
    """Print rows a second of writing and reading, and the most memory so far."""
    path = folder / name / NAMES.get(name, "a.jsonl")
    try:
        writing = written(path, name, rows)
    except RuieError as error:
        print(f"{name:16} left out: {error}")
        return
    ways: dict[str, Callable[[], Iterable[object]]] = {"": lambda: Import([path], format=name)}
    if name == "jsonl":
        ways["read_examples"] = lambda: read_examples(path)
    for way, read in ways.items():
        count, seconds = timed(read)
        assert count == rows // min(rows, PART) * min(rows, PART) or count == rows, (count, rows)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{name:16} {way:14} {writing:10,.0f} {count / seconds:10,.0f} {peak:8,.0f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--format", action="append", choices=sorted(formats()), help="only this one; repeatable")
    given = parser.parse_args()
    print(f"{'':31} {'written/s':>10} {'read/s':>10} {'MiB':>8}")
    with tempfile.TemporaryDirectory() as place:
        for each in given.format or formats():
            measure(each, given.rows, Path(place))
