"""Rows that the approximate index loses are noticed and linked anew."""

import json

import chromadb
import numpy as np
import pytest

from ruie_components import DemonstrationStore, Example
from ruie_components.store import exact, healing, index_check, open_pool, search, threads
from ruie_components.store.collections import ADAPTED, GRAPH
from ruie_components.store.index_check import check_all, check_written


@pytest.fixture
def poor():
    """A collection of 600 rows whose graph has too few links, and the rows' ids."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(30, 32))
    vectors = (centres[rng.integers(30, size=600)] + 0.2 * rng.normal(size=(600, 32))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"{number:03}" for number in range(600)]
    graph = {"space": "cosine", "max_neighbors": 3, "ef_construction": 10, "ef_search": 10}
    client = chromadb.EphemeralClient()
    collection = client.create_collection("poor-graph", embedding_function=None, configuration={"hnsw": graph})
    try:
        collection.add(ids=ids, embeddings=vectors)
        yield collection, ids
    finally:
        client.delete_collection("poor-graph")


def test_rows_that_a_poor_graph_loses_are_counted_and_repaired(poor):
    collection, ids = poor
    noticed = check_written(collection, ids)  # a sample finds a lost row, so all written rows are looked up
    assert noticed.checked == 600
    assert noticed.unreachable > 20
    assert noticed.repaired > noticed.unreachable / 2
    assert noticed.recall == 1 - (noticed.unreachable - noticed.repaired) / 600
    assert check_all(collection).unreachable == noticed.unreachable - noticed.repaired


def test_of_a_large_write_a_sample_is_looked_up(poor, monkeypatch):
    collection, ids = poor
    monkeypatch.setattr(index_check, "_LARGEST_WHOLE", 599)
    noticed = check_written(collection, ids)
    assert noticed.checked == 256
    assert noticed.unreachable > 0
    assert noticed.repaired == 0
    monkeypatch.setattr(index_check, "_LARGEST_SAMPLE", 100)
    assert check_written(collection, ids).checked == 100


def test_a_few_lost_rows_are_only_counted(poor, monkeypatch):
    collection, ids = poor
    monkeypatch.setattr(index_check, "_MANY", 0.5)
    noticed = check_written(collection, ids)
    assert noticed.checked == 256
    assert 0 < noticed.unreachable < 128
    assert noticed.repaired == 0


def test_of_a_sample_a_part_is_enough_if_it_finds_every_row(monkeypatch):
    client = chromadb.EphemeralClient()
    collection = client.create_collection("good-graph", embedding_function=None)
    try:
        ids = [f"{number:04}" for number in range(2000)]
        collection.add(ids=ids, embeddings=np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32))
        assert check_written(collection, ids) == index_check.IndexCheck(64, 0, 0)
        assert check_written(collection, ids[:100]) == index_check.IndexCheck(100, 0, 0)
        monkeypatch.setattr(index_check, "_SHARE", 0.2)
        assert check_written(collection, ids) == index_check.IndexCheck(400, 0, 0)  # no less than the share
    finally:
        client.delete_collection("good-graph")


def test_a_small_write_looks_up_its_own_rows_only(poor):
    collection, ids = poor
    assert check_written(collection, ids[:20]).checked == 20
    assert check_written(collection, []).checked == 0


def crowded(rows: int = 2000, dimension: int = 96) -> np.ndarray:
    """Unit vectors as an adapted encoder gives them: close together, in groups of different width."""
    rng = np.random.default_rng(0)
    width = np.exp(0.8 * rng.normal(size=(rows, 1)))
    groups = rng.normal(size=(rows // 8, dimension))[rng.integers(rows // 8, size=rows)]
    vectors = rng.normal(size=dimension) + width * (groups + 0.35 * rng.normal(size=(rows, dimension)))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class AdaptedEncoder:
    """Gives every row of a crowded pool its vector."""

    name, fingerprint, dimension = "adapted", "ada" * 8, 96

    def __init__(self) -> None:
        self.vectors = crowded()

    def encode_examples(self, examples):
        return self.vectors[[int(example.text) for example in examples]]

    def encode_queries(self, queries):
        return self.vectors[[int(query.text) for query in queries]]


def recall(collection, vectors: np.ndarray, k: int) -> float:
    """How many of the k nearest rows to every 20th row the index finds, by exact search."""
    queries = vectors[::20]
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :k]
    answer = collection.query(query_embeddings=queries, n_results=k, include=["metadatas"])
    texts = [{int(json.loads(each["example"])["text"]) for each in row} for row in answer["metadatas"]]
    return float(np.mean([len(found & set(best)) / k for found, best in zip(texts, exact, strict=True)]))


@pytest.fixture(scope="module")
def adapted(encoder):
    """A pool that was embedded again by an adapted encoder."""
    examples = [Example(task="NER", text=str(number), labels=["person"]) for number in range(2000)]
    with DemonstrationStore.create(examples, encoder=encoder, progress=False) as store:
        store.reindex(AdaptedEncoder())
        yield store


def test_a_pool_that_was_adapted_is_found_through_its_index(adapted):
    check = adapted.check_index()
    assert check.checked == 2000
    assert check.recall > 0.99
    assert adapted.check_index().recall >= check.recall  # another repair does no harm


@pytest.fixture
def indexed(monkeypatch):
    """Pools of more than 300 rows are searched through their index."""
    for module in (exact, open_pool, healing):
        monkeypatch.setattr(module, "LARGEST", 300)


def row(number: int) -> Example:
    return Example(task="NER", text=f"Ship {number} left the harbour of Lindal.", labels=["ship"])


def test_rows_are_looked_up_where_searches_use_the_index(encoder, indexed):
    with DemonstrationStore.create(map(row, range(250)), encoder=encoder, progress=False) as store:
        assert store.index_check.checked == 0
        store.add(map(row, range(250, 400)))
        assert store.index_check.checked == 64  # a part of a sample of all rows: none was looked up before
        assert store.index_check.recall == 1
        store.add(map(row, range(400, 420)))
        assert store.index_check.checked == 20
        store.sync(map(row, range(410)))
        assert store.index_check.checked == 0


def test_after_a_write_that_failed_all_rows_are_looked_up(encoder, indexed):
    def broken():
        yield from map(row, range(2500))
        raise RuntimeError("no more")

    with DemonstrationStore.create((), encoder=encoder, progress=False) as store:
        with pytest.raises(RuntimeError, match="no more"):
            store.add(broken())
        assert store.count() == 2000
        relation = Example(task="RE", text="Ada met Bob.", labels=["meet"])
        store.add([relation])  # of another task than the rows that nothing looked up
        assert store.index_check.checked == 64  # a part of a sample of all rows
        store.add([row(2501)])
        assert store.index_check.checked == 1


def test_a_pool_whose_embedding_was_resumed_is_looked_up_wholly(encoder, indexed, tmp_path):
    class Failing(AdaptedEncoder):
        def encode_examples(self, examples):
            if self.fails and any(example.text == "1600" for example in examples):
                raise RuntimeError("no more")
            return super().encode_examples(examples)

    numbered = (Example(task="NER", text=str(number), labels=["person"]) for number in range(2000))
    failing = Failing()
    with DemonstrationStore.create(numbered, tmp_path, encoder=encoder, progress=False) as store:
        failing.fails = True
        with pytest.raises(RuntimeError, match="no more"):
            store.reindex(failing)
        failing.fails = False
        store.reindex(failing)
        assert store.index_check.checked == 2000
        assert store.index_check.recall > 0.99


def test_a_batch_that_threads_share_is_searched_as_its_queries_are_one_by_one(encoder, indexed, monkeypatch):
    monkeypatch.setattr(threads, "THREADS", 4)
    with DemonstrationStore.create(map(row, range(400)), encoder=encoder, progress=False) as store:
        queries = [row(number).query for number in range(350, 420)]  # some of their texts are in the pool
        assert len(queries) > search._FEW
        for k in (3, 12):  # few rows for each query, and more in all than the pool has
            batch = store.nearest(queries, k)
            alone = [store.nearest([query], k)[0] for query in queries]
            assert [len(hits) for hits in batch] == [k] * len(queries)
            for together, one in zip(batch, alone, strict=True):  # rows with equal scores may be others
                assert [hit.score for hit in together] == pytest.approx([hit.score for hit in one], abs=1e-6)


def test_texts_from_one_template_are_found_through_the_index(encoder, indexed):
    with DemonstrationStore.create(map(row, range(3000)), encoder=encoder, progress=False) as store:
        assert store.check_index().recall > 0.99


def test_the_graph_has_more_links_than_chromas_and_is_searched_more_widely(adapted):
    collection = adapted._pool.collections["NER"]
    hnsw = collection.configuration_json["hnsw"]
    assert {key: hnsw[key] for key in GRAPH} == {**GRAPH, **ADAPTED}
    vectors = crowded()
    client = chromadb.EphemeralClient()
    plain = client.create_collection(
        "plain-graph", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    try:
        rows = [{"example": json.dumps({"text": str(number)})} for number in range(2000)]
        plain.add(ids=[str(number) for number in range(2000)], embeddings=vectors, metadatas=rows)
        assert recall(collection, vectors, 8) > 0.99
        # a plain graph of these rows has 0.86 to 0.92, and of the first 8 rows 0.957 to 0.998, by chance of its build
        assert recall(collection, vectors, 80) > 0.99 > recall(plain, vectors, 80)
    finally:
        client.delete_collection("plain-graph")
