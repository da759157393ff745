"""A new process to its first demonstration, against the same with sentence-transformers.

The other one has a static model of the same tokenizer and dimension, so that only libraries and loading differ. Needs
the stores that ``build.py`` leaves, and the extra ``[train]``.
"""

import statistics
import sys
import time

from common import COLLECTION, OURS, RAW, ROOT, WORK, in_new_process, queries, report

RUNS = 5
MODEL = WORK / "static-model"


def ours() -> None:
    from ruie_components import DemonstrationStore, Query

    with DemonstrationStore.open(OURS) as store:
        found = store.search(Query(task="NER", text="Ada Lovelace met Babbage in London.", labels=["person"]))
    assert len(found) == 8
    assert "torch" not in sys.modules


def theirs() -> None:
    import chromadb
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(MODEL), device="cpu")
    collection = chromadb.PersistentClient(str(RAW)).get_collection(COLLECTION, embedding_function=None)
    vector = model.encode(["Ada Lovelace met Babbage in London."])
    found = collection.query(query_embeddings=vector, n_results=8, where={"task": "NER"})
    assert len(found["ids"][0]) == 8


def make_model() -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer

    from ruie_components import load_encoder

    tokenizer = Tokenizer.from_file(str(ROOT / "ruie_components" / "assets" / "encoder" / "tokenizer.json"))
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=load_encoder().dimension)]).save(str(MODEL))


def main() -> None:
    queries(1)  # says what is missing where there is no data
    if not MODEL.is_dir():
        in_new_process("start.py", "--make-model")
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(RUNS):
        for which, times in seconds.items():
            start = time.perf_counter()
            in_new_process("start.py", f"--{which}")
            times.append(time.perf_counter() - start)
    best = {name: statistics.median(times) for name, times in seconds.items()}
    report("start, s p50", best["theirs"] / best["ours"], "ours at most 2.5 s", **best)


if __name__ == "__main__":
    parts = {"--ours": ours, "--theirs": theirs, "--make-model": make_model}
    parts.get(sys.argv[1] if len(sys.argv) > 1 else "", main)()
