"""A choice of 8 by similarity for event arguments, in a pool with many rare event types: processor time of a query.

A query that finds too few examples of its own event type is searched for them in the whole pool. The queries are dev
rows of three sets in turn, one by one; the pool is their train rows. The printed hash is that of all choices.

    python benchmarks/event_types.py [QUERIES]
"""

import gzip
import hashlib
import itertools
import json
import sys
import time
from collections import Counter

import numpy as np
from common import DATA, WORK, machine

from ruie_components import DemonstrationStore, Example, Query, Selector

K = 8
SETS = ("CASIE", "CancerGenetics2013", "GENIA2011")
STORE = WORK / "event_types"


def read(split: str) -> list[Example]:
    """The rows of a split of the sets, one of each set in turn."""
    sets = []
    for name in SETS:
        with gzip.open(DATA / "EAE" / name / f"{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
            sets.append([Example.model_validate(json.loads(line)) for line in lines])
    return [each for row in itertools.zip_longest(*sets) for each in row if each is not None]


def main(count: int) -> None:
    pool = read("train")
    if not STORE.is_dir():
        DemonstrationStore.create(pool, STORE, progress=False).close()
    wanted = [example.query for example in read("dev")][: count + K]
    types = Counter(example.query.event.type for example in pool if example.query.event)
    selector = Selector("similarity", k=K)
    seconds, chosen = [], hashlib.sha256()
    with DemonstrationStore.open(STORE) as store:
        rows = store.count()
        for query in wanted:
            start = time.process_time()
            found = selector.select(store, query)
            seconds.append(time.process_time() - start)
            chosen.update(repr([(each.example.content_id, each.reason.similarity_rank) for each in found]).encode())
    ms = 1000 * np.array(seconds[K:])  # the first ones load the index
    rare = np.array([size_of(query, types) < K for query in wanted[K:]])
    for name, part in (("all", ms), (f"of a type with fewer than {K} rows", ms[rare]), ("of others", ms[~rare])):
        if len(part):
            p50, p95 = np.percentile(part, (50, 95))
            print(f"{len(part)} queries {name}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, mean {part.mean():.1f} ms")
    print(f"{rows:,} rows, {len(types)} event types; choices {chosen.hexdigest()[:16]} [{machine()}]")


def size_of(query: Query, types: Counter[str]) -> int:
    """How many rows of the pool are about an event of the query's type."""
    return types[query.event.type] if query.event else 0


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
