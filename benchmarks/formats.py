"""Rows a second of reading JSON Lines and CoNLL, and the memory that it takes.

    python benchmarks/formats.py --rows 100000

Times are processor time of this process, so that other programs on the machine don't count.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from ruie_components.formats import Import, export, read_examples
from ruie_components.starter import starter_examples


def write(folder, rows):
    """Two files of recombined starter examples: JSON Lines and CoNLL."""
    starter = starter_examples("NER")
    examples = [starter[i % len(starter)].model_copy(update={"id": f"row-{i}"}) for i in range(min(rows, 2000))]
    files = {"jsonl": folder / "rows.jsonl", "conll": folder / "rows.conll"}
    for name, path in files.items():
        export(path, examples, name)
        content = path.read_bytes()
        with path.open("wb") as file:
            for _ in range(max(1, rows // len(examples))):
                file.write(content)
    return files, len(examples) * max(1, rows // len(examples))


def measure(name, read, rows):
    """Rows a second of processor time, and the most memory so far."""
    start = time.process_time()
    count = sum(1 for _ in read())
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert count == rows, (count, rows)
    print(f"{name:28} {rows / seconds:10,.0f} rows/s  {peak:6,.0f} MiB at most")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        files, rows = write(Path(name), given.rows)
        measure("JSON Lines, read_examples", lambda: read_examples(files["jsonl"]), rows)
        measure("JSON Lines, Import", lambda: Import([files["jsonl"]]), rows)
        measure("CoNLL, Import (two passes)", lambda: Import([files["conll"]]), rows)
