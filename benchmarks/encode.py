"""Encoding one query on one core, against a static model of sentence-transformers of the same tokenizer and size.

Needs the model that ``start.py`` leaves, and the extra ``[train]``.
"""

import statistics
import sys
import time

from common import in_new_process, queries, report
from start import MODEL

from ruie_components import load_encoder


def main(count: int) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    if not MODEL.is_dir():
        in_new_process("start.py", "--make-model")
    ours, theirs = load_encoder(), SentenceTransformer(str(MODEL), device="cpu")
    texts = [ours.query_text(query) for query in queries(count + 20)]
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for text in texts:
        start = time.perf_counter()
        ours.encode_texts([text], "query")
        middle = time.perf_counter()
        theirs.encode([text])
        times["ours"].append(middle - start)
        times["theirs"].append(time.perf_counter() - middle)
    p50 = {name: 1000 * statistics.median(values[20:]) for name, values in times.items()}  # the first ones warm up
    report("encode a query, ms p50", p50["theirs"] / p50["ours"], "ours at most 3 ms", **p50)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
