"""A corpus run with the baseline: documents a second, and resident memory as the corpus grows.

    python benchmarks/corpus.py --documents 100000
    python benchmarks/corpus.py --documents 1000000 -k 0    # in minutes: no demonstrations

The pool is the starter pool, so no data are needed. Documents are its texts with a number of their own. The baseline
answers at once: what is measured is everything but the language model.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from common import machine, peak_memory

from ruie_components import Extractor
from ruie_components.extraction.budget import Budget
from ruie_components.extraction.corpus import extract_corpus
from ruie_components.extraction.jobs import Document
from ruie_components.starter import starter_examples, starter_store


def documents(count: int) -> Iterator[Document]:
    texts = [example.text for example in starter_examples("NER")]
    for i in range(count):
        yield f"document {i}", {"id": i, "text": f"{texts[i % len(texts)]} Number {i}."}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("-k", type=int, default=8, help="number of demonstrations")
    parser.add_argument("--steps", type=int, default=5, help="how often memory is printed")
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder, starter_store() as store:
        extractor = Extractor(store, "baseline", k=arguments.k, task="NER")
        print("| documents | documents/s of this part | resident at most, MB |\n|---:|---:|---:|")
        for step in range(1, arguments.steps + 1):  # every part resumes the run: the budget ends the one before
            allowed = arguments.documents * step // arguments.steps
            began, cpu = time.perf_counter(), time.process_time()
            summary = extract_corpus(
                extractor, documents(arguments.documents), Path(folder) / "run", budget=Budget(calls=allowed)
            )
            done = summary.documents - summary.resumed
            rate, per_cpu = done / (time.perf_counter() - began), done / (time.process_time() - cpu)
            print(
                f"| {summary.documents:,} | {rate:,.1f} ({per_cpu:,.1f} a CPU second) | {peak_memory():,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
