"""Adapting the embedded encoder to a pool of 8,000 demonstrations: seconds of each step, and memory.

What it gains is measured by ``adapt_gain.py`` and ``ruie evaluate retrieval --data FOLDER --held-out --adapt``.
"""

import gzip
import itertools
import json
import sys
import time

from common import DATA, in_new_process, machine, peak_memory

from ruie_components import DemonstrationStore, Example

POOLS = ("NER/WikiANN_en", "RE/kbp37", "ED/GENIA2011")
GOAL = 60


def adapt(name: str, count: int) -> None:
    with gzip.open(DATA / name / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        examples = [Example.model_validate(json.loads(line)) for line in itertools.islice(lines, count)]
    with DemonstrationStore.create(examples, progress=False) as store:
        before, start, cpu = peak_memory(), time.perf_counter(), time.process_time()
        result = store.adapt()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        checked = store.index_check.checked
        recall = store.index_check.recall if checked else None  # searched exactly
    memory = [before, peak_memory()]
    row = {"rows": len(examples), "seconds": seconds, "cpu": cpu, "parts": result.seconds}
    print(json.dumps({**row, "memory": memory, "recall": recall}))


def main(count: int) -> None:
    for name in POOLS:
        row = json.loads(in_new_process("adapt.py", name, str(count)))
        parts = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in row["parts"].items())
        before, peak = row["memory"]
        found = "searched exactly" if row["recall"] is None else f"the index finds {row['recall']:.1%} of a sample"
        print(
            f"adapt, {name}, {row['rows']:,} rows: {row['seconds']:.0f} s ({parts}), {row['cpu']:.0f} s of CPU; "
            f"goal {GOAL} s; "
            f"{before:.0f} MB resident before, at most {peak:.0f} MB; {found} "
            f"[{machine()}]",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        adapt(sys.argv[1], int(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
