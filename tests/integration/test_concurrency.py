"""Threads, coroutines and processes over one store get the results that one thread gets."""

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from ruie_components import DemonstrationRetriever, DemonstrationStore, Example, Query, Selector
from ruie_components.langchain import RUIERetriever
from ruie_components.store import open_pool
from ruie_components.store.exact import LARGEST

THREADS = 16
NAMES = ("Ada", "Bob", "Cy")
CITIES = ("Rome", "Oslo")


def ner(number: int) -> Example:
    name, city = NAMES[number % 3], CITIES[number // 3 % 2]
    text = f"{name} {'met' if number % 2 else 'slept'} in {city} {number}."
    entities = [{"text": name, "type": "person", "start": 0, "end": len(name)}]
    if number % 5 == 0:
        start = text.index(city)
        entities.append({"text": city, "type": "city", "start": start, "end": start + len(city)})
    return Example(task="NER", text=text, labels=["person", "city"], entities=entities)


def detection(number: int) -> Example:
    return Example(task="ED", text=f"Acme works in Oslo {number}.", labels=["sale"])


ROWS = [ner(number) for number in range(60)]
QUERIES = [
    Query(task="NER", text=f"{name} {verb}.", labels=["person", "city"]) for name in NAMES for verb in ("met", "at")
]
SELECTORS = [Selector("similarity", k=5), Selector("label-vote", k=5), Selector("hybrid", k=5)]


def results(store: DemonstrationStore) -> list:
    """What every way of choosing gives for every query, with scores."""
    chosen = [
        [(shown.example.content_id, shown.score) for shown in selector.select(store, query)]
        for selector in SELECTORS
        for query in QUERIES
    ]
    found = [[(hit.example.content_id, hit.score) for hit in store.search(query, 7)] for query in QUERIES]
    return [*chosen, *found]


@pytest.mark.parametrize("largest", [LARGEST, 0], ids=["exact", "index"])
@pytest.mark.parametrize("where", ["memory", "folder"])
def test_threads_that_search_vote_and_add_at_the_same_time(tmp_path, encoder, monkeypatch, where, largest):
    monkeypatch.setattr(open_pool, "LARGEST", largest)
    path = None if where == "memory" else tmp_path / "store"
    adding, each = 4, 10
    together = Barrier(THREADS)
    with DemonstrationStore.create(ROWS, path, encoder=encoder, progress=False) as store:
        alone = results(store)

        def work(thread: int):
            together.wait(60)
            if thread >= adding:
                return results(store)
            # rows of another task, which no query here sees; every row is added by two threads
            first = thread // 2 * each
            return sum(store.add([detection(number)]) for number in range(first, first + each))

        with ThreadPoolExecutor(THREADS) as pool:
            outcomes = list(pool.map(work, range(THREADS)))
        assert all(outcome == alone for outcome in outcomes[adding:])
        assert store.count("ED") == 2 * each == sum(outcomes[:adding])
        assert {example.text for example in store.examples("ED")} == {detection(n).text for n in range(2 * each)}
        assert results(store) == alone
        assert store.check_index().recall == 1


async def test_coroutines_over_one_store(encoder):
    with DemonstrationStore.create(ROWS, encoder=encoder, progress=False) as store:
        retriever = DemonstrationRetriever(store, k=5)
        alone = [retriever.retrieve(query) for query in QUERIES]
        found = await asyncio.gather(*(retriever.aretrieve(query) for query in QUERIES * 10))
        assert found == alone * 10
        documents = RUIERetriever(store=store, k=5)
        alone = [documents.invoke(query.text) for query in QUERIES]
        assert await asyncio.gather(*(documents.ainvoke(query.text) for query in QUERIES * 10)) == alone * 10


SPAWNED = """
import json, multiprocessing, sys
from ruie_components import DemonstrationStore, Query, Selector

def results(path, encoder, rows):
    with DemonstrationStore.open(path, encoder=encoder) as store:
        chosen = [Selector(k=5).select(store, Query.model_validate(row)) for row in rows]
        return [[(shown.example.content_id, shown.score) for shown in demonstrations] for demonstrations in chosen]

if __name__ == "__main__":
    path, encoder, rows = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    alone = results(path, encoder, rows)  # this process has used a store itself; spawned ones do not mind
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        outcomes = pool.starmap(results, [(path, encoder, rows)] * 4, chunksize=1)
    print([outcome == alone for outcome in outcomes], len(alone))
"""


def test_spawned_processes_that_read_one_folder(tmp_path, encoder_folder):
    DemonstrationStore.create(ROWS, tmp_path / "store", encoder=encoder_folder, progress=False).close()
    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED, "utf-8")
    rows = json.dumps([query.model_dump(mode="json") for query in QUERIES])
    command = [sys.executable, str(script), str(tmp_path / "store"), str(encoder_folder), rows]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert run.stdout == f"{[True] * 4} {len(QUERIES)}\n", run.stderr
