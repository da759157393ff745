"""A selection of 8 from 50,000, against LangChain's SemanticSimilarityExampleSelector over langchain_chroma.

Same encoder, same rows, same machine, in turns; LangChain's rows lie in one collection and are filtered by task.
Needs the stores that ``build.py`` leaves.
"""

import itertools
import statistics
import sys
import time
from typing import Any

import chromadb
import numpy as np
from common import COLLECTION, OURS, RAW, queries, report
from langchain_chroma import Chroma
from langchain_core.embeddings import Embeddings
from langchain_core.example_selectors import SemanticSimilarityExampleSelector

from ruie_components import DemonstrationStore, Selector, Task, load_encoder
from ruie_components.encoders import Encoder


class SameEncoder(Embeddings):
    """The embedded encoder as LangChain sees one."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.encoder.encode_texts(texts, "passage").tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.encoder.encode_texts([text], "query")[0].tolist()


def main(count: int) -> None:
    encoder = load_encoder()
    store = DemonstrationStore.open(OURS, encoder=encoder)
    database = Chroma(COLLECTION, embedding_function=SameEncoder(encoder), client=chromadb.PersistentClient(str(RAW)))
    theirs = SemanticSimilarityExampleSelector(
        vectorstore=database, k=8, input_keys=["text"], vectorstore_kwargs={"filter": {"task": "NER"}}
    )
    by_vote, by_similarity = Selector("label-vote", k=8), Selector("similarity", k=8)
    wanted = queries(count + 5)
    times: dict[str, list[float]] = {"label-vote": [], "similarity": [], "theirs": []}
    same = 0
    for number, query in enumerate(wanted):
        ends = [time.perf_counter()]
        by_vote.select(store, query)
        ends.append(time.perf_counter())
        chosen = by_similarity.select(store, query)
        ends.append(time.perf_counter())
        others = theirs.select_examples({"text": encoder.query_text(query)})
        ends.append(time.perf_counter())
        if number >= 5:  # the first ones load the index
            for values, (start, end) in zip(times.values(), itertools.pairwise(ends), strict=True):
                values.append(end - start)
            texts = {example["example"] for example in others}
            same += sum(each.example.model_dump_json(by_alias=True) in texts for each in chosen)
    p50 = {name: statistics.median(values) * 1000 for name, values in times.items()}
    for name in ("label-vote", "similarity"):
        figures = {name: p50[name], "theirs": p50["theirs"]}
        report(f"selection {name}, ms p50", p50["theirs"] / p50[name], "at least 5", **figures)
    print(f"chosen by both, similarity and theirs: {same / count / 8:.0%}")
    vectors = encoder.encode_queries([query for query in wanted if query.task is Task.NER])
    print(
        "of the nearest 8, by exact search, found by the index: "
        f"ours {recall(store._pool.collections[Task.NER], vectors):.1%}, "
        f"theirs {recall(database._collection, vectors, where={'task': 'NER'}):.1%}"
    )
    store.close()


def recall(collection: Any, queries: np.ndarray, **filters: Any) -> float:
    """The share of the 8 rows nearest to each query, among those that a filter allows, that a search finds."""
    rows = collection.get(include=[], **filters)["ids"]
    nearest = np.zeros((len(queries), 0), np.float32)  # the best 8 scores so far
    for start in range(0, len(rows), 1000):
        page = collection.get(ids=rows[start : start + 1000], include=["embeddings"])["embeddings"]
        nearest = np.sort(np.hstack([nearest, queries @ np.asarray(page, np.float32).T]), axis=1)[:, -8:]
    found = collection.query(query_embeddings=queries, n_results=8, include=["distances"], **filters)["distances"]
    return float(np.mean(1 - np.asarray(found) >= nearest[:, :1] - 1e-5))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
