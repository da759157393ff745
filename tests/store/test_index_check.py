"""Rows that the approximate index loses are noticed and linked anew."""

import chromadb
import numpy as np

from ruie_components.store.index_check import check_all, check_written


def test_rows_that_a_poor_graph_loses_are_counted_and_repaired():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(30, 32))
    vectors = (centres[rng.integers(30, size=600)] + 0.2 * rng.normal(size=(600, 32))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"{number:03}" for number in range(600)]
    poor = {"space": "cosine", "max_neighbors": 4, "ef_construction": 10, "ef_search": 10}
    client = chromadb.EphemeralClient()
    collection = client.create_collection("poor-graph", embedding_function=None, configuration={"hnsw": poor})
    try:
        collection.add(ids=ids, embeddings=vectors)
        noticed = check_written(collection, ids)  # a sample finds a lost row, so all rows are checked
        assert noticed.checked == 600
        assert noticed.unreachable > 20
        assert noticed.repaired > noticed.unreachable / 2
        assert noticed.recall == 1 - (noticed.unreachable - noticed.repaired) / 600
        assert check_all(collection).unreachable == noticed.unreachable - noticed.repaired
    finally:
        client.delete_collection("poor-graph")
