"""Exact search against the index: rows lost, CPU time of a search, of reading the rows, and of a search after a write.

All texts are from one template.

python benchmarks/exact.py                 # 500, 2,000 and 5,000 rows
python benchmarks/exact.py 10000           # where the rows are read into memory at most
"""

import logging
import sys
import time
from collections.abc import Callable
from statistics import median

from ruie_components import DemonstrationStore, Example, Query
from ruie_components.store.exact import read_rows
from ruie_components.store.index_check import check_all
from ruie_components.store.records import SearchOptions
from ruie_components.store.search import search_collection

TEXT = "The officers in the harbour of Lindal inspected the shipment of {}, which had arrived late."
SEARCHES = 100


def example(number: int) -> Example:
    word = f"Item{number}"
    text = TEXT.format(word)
    start = text.index(word)
    entity = {"type": "product", "text": word, "start": start, "end": start + len(word)}
    return Example(task="NER", text=text, labels=["product"], entities=[entity])


def milliseconds(search: Callable[[int], object]) -> float:
    """The median CPU time of some searches."""
    times = []
    for number in range(SEARCHES):
        began = time.process_time()
        search(number)
        times.append(time.process_time() - began)
    return 1000 * median(times)


def measure(count: int) -> None:
    with DemonstrationStore.create(map(example, range(count)), progress=False) as store:
        collection = store._pool.collections["NER"]
        check = check_all(collection)
        lost = check.unreachable - check.repaired
        began = time.process_time()
        rows = read_rows(collection)
        reading = 1000 * (time.process_time() - began)
        queries = [Query(task="NER", text=f"So {example(n).text}", labels=["product"]) for n in range(SEARCHES)]
        vectors = store.encoder.encode_queries(queries)
        figures = []
        for k in (8, 80):
            index = milliseconds(lambda n, k=k: search_collection(collection, vectors[n : n + 1], [""], k))
            exact = milliseconds(lambda n, k=k: rows.search(vectors[n], "", k, SearchOptions()))
            figures.append(f"{k} rows: index {index:.1f} ms, exact {exact:.1f} ms")
        store.nearest(queries[:1], 8)  # reads the rows
        store.add([example(count)])
        began = time.process_time()
        store.nearest(queries[:1], 8)
        after = 1000 * (time.process_time() - began)
    print(
        f"{count:,}: the index lost {lost}; {'; '.join(figures)}; reading the rows {reading:.0f} ms; "
        f"a search after adding a row {after:.0f} ms",
        flush=True,
    )


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    for size in map(int, sys.argv[1:] or ("500", "2000", "5000")):
        measure(size)
