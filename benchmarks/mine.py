"""BM25 candidates over 25,000 demonstrations, top 100, against rank_bm25 (a sample of the queries).

rank_bm25's time is its scores alone: no tokens, no ranking. Ours is all of ``mine`` but the index, on examples whose
ids are known, as in a run; per core is processor time against processor time.
"""

import sys
import time

import numpy as np
from common import DATA, report
from rank_bm25 import BM25Okapi
from ruie_training.mining.bm25 import mine

from ruie_components import Example
from ruie_components.formats.jsonl import read_examples
from ruie_components.lexical import BM25Index, example_tokens, query_tokens

SETS = ("NER/CoNLL2003", "NER/WikiNeural", "NER/WikiANN_en")
SAMPLE = 12  # queries that rank_bm25 is timed on
K = 100


def pool(count: int) -> list[Example]:
    """English rows of three sets under one schema, as one pool."""
    rows = [example.to_row() for name in SETS for example in read_examples(DATA / name / "train.jsonl.gz")]
    labels = sorted({label for row in rows for label in row["schema"]})
    found = {
        example.content_id: example for example in (Example.model_validate({**row, "schema": labels}) for row in rows)
    }
    return list(found.values())[:count]


def timed(work):
    """A result, and the seconds of the clock and of all cores together."""
    begin = np.array([time.perf_counter(), time.process_time()])
    result = work()
    return result, np.array([time.perf_counter(), time.process_time()]) - begin


def main(count: int) -> None:
    rows = pool(count)
    count = len(rows)
    _, first = timed(lambda: mine(rows, rows, k=K, progress=False))
    candidates, again = timed(lambda: mine(rows, rows, k=K, progress=False))
    blocks, tokenizing = timed(lambda: [example_tokens(row) for row in rows])
    _, index = timed(lambda: BM25Index(blocks, compiled=True))

    yardstick, plain_index = timed(lambda: BM25Okapi(blocks))
    sample = np.linspace(0, count - 1, SAMPLE).astype(int)
    tokens = [query_tokens(rows[at].query) for at in sample]
    exact, plain = timed(lambda: [yardstick.get_scores(words) for words in tokens])
    ours = dict(zip(candidates.query_ids, candidates.scores, strict=True))
    texts = np.array([row.text for row in rows])
    agree = 0
    for at, scores in zip(sample, exact, strict=True):
        best = np.sort(scores[texts != rows[at].text])[::-1][:K]
        agree += np.allclose(ours[rows[at].content_id], best, rtol=1e-4)

    (rate, core_rate), (slow, core_slow) = count / (again - tokenizing - index), SAMPLE / plain
    report(
        f"mine, queries/s, {count:,} demonstrations, index apart", rate / slow, "at least 500",
        ours=rate, rank_bm25=slow, ratio_per_core=core_rate / core_slow, agree=agree / SAMPLE,
    )  # fmt: skip
    whole, slow_whole = count / first[0], count / (plain_index[0] + count / slow)
    report(
        "mine, the whole stage in a new process, with numba's compilation", whole / slow_whole, "none",
        seconds=first[0], without_compiling=again[0], rank_bm25_estimated=count / slow_whole,
    )  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 25_000)
