"""Reads while another thread adds and deletes rows."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import chromadb
import numpy as np
import pytest
from chromadb.errors import InternalError

from ruie_components.store.exact import read_few, read_rows
from ruie_components.store.records import EVENT, SearchOptions
from ruie_components.store.search import search_collection
from ruie_components.store.threads import despite_deletes

VECTORS = np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32)
IDS = [f"row {number:02}" for number in range(100)]
SALES = SearchOptions(event_type="sale", vectors=True)


@pytest.fixture
def collection():
    """80 rows, of which half are about a sale."""
    client = chromadb.EphemeralClient()
    collection = client.create_collection(
        "deletes", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    collection.add(ids=IDS[:80], embeddings=VECTORS[:80], metadatas=[{EVENT: "sale"}] * 40 + [{EVENT: "theft"}] * 40)
    yield collection
    client.delete_collection("deletes")


def test_reads_succeed_while_rows_are_deleted(collection):
    """Without repeating them about one in fifty fails: a listed row is gone when Chroma looks up its vector."""
    reads = {
        "all": lambda: len(read_rows(collection)),
        "few": lambda: len(read_few(collection, SALES.where) or IDS),
        "query": lambda: len(search_collection(collection, VECTORS[:8], [""] * 8, 80)[0]),
        "filtered": lambda: len(search_collection(collection, VECTORS[:8], [""] * 8, 40, SALES)[0]),
    }
    least = {"all": 80, "few": 40, "query": 80, "filtered": 40}
    done = Event()

    def repeat(name: str) -> int:
        times = 0
        while not done.is_set() or not times:
            assert reads[name]() >= least[name]
            times += 1
        return times

    with ThreadPoolExecutor(len(reads)) as pool:
        reading = [pool.submit(repeat, name) for name in reads]
        try:
            for _ in range(150):
                collection.add(ids=IDS[80:], embeddings=VECTORS[80:], metadatas=[{EVENT: "sale"}] * 20)
                collection.delete(ids=IDS[80:])
        finally:
            done.set()
        assert sum(each.result() for each in reading) >= 50


def test_a_read_that_keeps_failing_fails():
    times = []

    def read(**_):
        times.append(1)
        raise InternalError("Error finding id")

    with pytest.raises(InternalError, match="Error finding id"):
        despite_deletes(read, ids=["a"])
    assert len(times) == 8
