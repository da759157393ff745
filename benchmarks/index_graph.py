"""What Chroma's graph finds, by its settings: of an adapted pool, of the same pool before, of texts from one template.

The tables behind ``store/collections.py``.

python benchmarks/index_graph.py DATA                       # NER/mit-movie-trivia, which is not held out
python benchmarks/index_graph.py DATA NER/HarveyNER

Recall is that against exact search, of the first 8 and of the 80 that vote, for queries of the dev split. A row is lost
if a search for its own vector does not return it among 8.
"""

import sys
import time
from pathlib import Path

import chromadb
import numpy as np
from chromadb.config import Settings
from exact import example

from ruie_components import DemonstrationStore
from ruie_components.encoders import load_encoder
from ruie_components.formats import read_examples

GRAPHS = [(16, 100, 100), (16, 100, 400), (32, 200, 400), (64, 100, 200), (64, 100, 400), (64, 200, 400)]
"""Links, ``ef_construction``, ``ef_search``; the first are Chroma's own."""
QUERIES = 200
TEMPLATE = 7_000


def measure(vectors: np.ndarray, queries: np.ndarray, links: int, construction: int, search: int) -> str:
    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
    graph = {"space": "cosine", "max_neighbors": links, "ef_construction": construction, "ef_search": search}
    collection = client.create_collection(f"graph-{links}-{construction}-{search}", configuration={"hnsw": graph})
    ids = [str(row) for row in range(len(vectors))]
    begin = time.process_time()
    for start in range(0, len(vectors), 1000):
        collection.add(ids=ids[start : start + 1000], embeddings=vectors[start : start + 1000])
    built = time.process_time() - begin
    exact = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")
    begin = time.process_time()
    rows = [[int(row) for row in of_query] for of_query in collection.query(queries, n_results=80, include=[])["ids"]]
    searched = (time.process_time() - begin) / len(queries)
    recalls = [
        np.mean([len(set(found[:k]) & set(best[:k])) / k for found, best in zip(rows, exact.tolist(), strict=True)])
        for k in (8, 80)
    ]
    own = [
        found
        for start in range(0, len(vectors), 1000)
        for found in collection.query(vectors[start : start + 1000], n_results=8, include=[])["ids"]
    ]
    lost = sum(row not in found for row, found in zip(ids, own, strict=True))
    client.delete_collection(collection.name)
    return (
        f"| {links}, {construction}, {search} | {recalls[0]:.3f} | {recalls[1]:.3f} | {lost} | {built:.1f} | "
        f"{1000 * searched:.1f} |"
    )


def main(data: Path, name: str) -> None:
    folder = data / name
    store = DemonstrationStore.create(read_examples(folder / "train.jsonl.gz"), progress=False)
    queries = [example.query for example in read_examples(folder / "dev.jsonl.gz")][:QUERIES]
    examples = list(store.examples())
    store.adapt(progress=False)
    for title, encoder in (("adapted", store.encoder), ("embedded", load_encoder())):
        table(f"{name}, {title}", encoder.encode_examples(examples), encoder.encode_queries(queries))
    template = [example(number) for number in range(TEMPLATE)]
    asked = [each.query for each in template[:: TEMPLATE // QUERIES]]
    table("texts from one template, embedded", encoder.encode_examples(template), encoder.encode_queries(asked))


def table(title: str, vectors: np.ndarray, queries: np.ndarray) -> None:
    print(f"{title}: {len(vectors):,} rows, mean vector of length {np.linalg.norm(vectors.mean(0)):.2f}\n")
    print("| links, ef_construction, ef_search | recall@8 | recall@80 | rows lost | build, s | one search, ms |")
    print("|---|---:|---:|---:|---:|---:|")
    for graph in GRAPHS:
        print(measure(vectors, queries, *graph), flush=True)
    print()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "NER/mit-movie-trivia")
