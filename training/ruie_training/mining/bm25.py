"""Mining: every query's candidates from its pool by BM25 (paper, pipeline step 1).

The query is the unfinished block (task, schema, input), a document is the finished block of a demonstration. A
candidate whose text is the query's own is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ruie_components.lexical import BM25Index, example_tokens, pays_to_compile, query_tokens
from ruie_components.progress import track
from ruie_components.tokenization import text_hash
from ruie_components.types import Example, Task
from ruie_training.data.candidates import Candidates
from ruie_training.errors import TrainingError

Backend = Literal["bm25s", "rank_bm25"]
SetName = tuple[Task, str | None]  # task and ``dataset``
Ranked = tuple[NDArray[np.int64], NDArray[np.float32]]  # documents and scores, (queries, k)
Row = tuple[tuple[str, ...], tuple[float, ...]]  # ids and scores of one query's candidates
Advance = Callable[[int], None]
Search = Callable[[Sequence[Sequence[str]], int], Ranked]

_BATCH = 2048  # queries per call: enough to keep all processors busy, few enough for a moving progress bar


def mine(
    queries: Sequence[Example],
    pool: Sequence[Example],
    *,
    k: int = 100,
    minimum: int = 1,
    keep_empty: bool = True,
    backend: Backend = "bm25s",
    progress: bool = True,
) -> Candidates:
    """The k best demonstrations of a pool for every query, by BM25 (k1 1.5, b 0.75, as rank_bm25's ``BM25Okapi``).

    Args:
        queries: The labelled rows to find candidates for; they may be the pool's own.
        pool: Demonstrations of the queries' task and schema. Of rows with the same content the first counts.
        k: The maximum number of candidates of a query.
        minimum: A query with fewer candidates is left out.
        keep_empty: Whether to keep rows without annotations as queries and candidates.
        backend: ``rank_bm25`` is the reference, with equal lists and hundreds of times slower.
        progress: Show a bar on stderr.

    Returns:
        Candidates best first, equal scores in the pool's order; ``dropped`` counts left-out rows by reason.

    Raises:
        TrainingError: Nothing is left: no queries, no pool, or no query with ``minimum`` candidates.
    """
    with track("BM25 candidates", total=len(queries), enabled=progress) as advance:
        return _mine(queries, pool, k, minimum, keep_empty, backend, advance)


def mine_sets(
    queries: Iterable[Example],
    pool: Iterable[Example],
    *,
    k: int = 100,
    minimum: int = 1,
    keep_empty: bool = True,
    backend: Backend = "bm25s",
    progress: bool = True,
) -> Candidates:
    """``mine`` for many sets at once: a query's candidates come from the rows of its own task and data set.

    A row with the same content in two sets counts only in the first, because ids do not include the set. A set without
    usable queries is left out, and counted.

    Raises:
        TrainingError: No set has a query with ``minimum`` candidates.
    """
    dropped: Counter[str] = Counter()
    homes: dict[str, SetName] = {}
    pools = rows_of_sets(pool, homes, dropped, "candidate")
    query_sets = rows_of_sets(queries, homes, dropped, "query")
    parts = []
    with track("BM25 candidates", total=sum(map(len, query_sets.values())), enabled=progress) as advance:
        for name, rows in query_sets.items():
            try:
                parts.append(_mine(rows, pools.get(name, ()), k, minimum, keep_empty, backend, advance))
            except TrainingError:
                dropped["query: its set has too few candidates"] += len(rows)
    if not parts:
        raise TrainingError(
            f"no set has a query with {minimum} candidates: there are {sum(map(len, query_sets.values()))} queries "
            f"in {len(query_sets)} sets and {sum(map(len, pools.values()))} demonstrations in {len(pools)} sets"
        )
    parts.append(Candidates((), (), (), dropped=dropped))
    return Candidates.join(parts)


def rows_of_sets(
    examples: Iterable[Example], homes: dict[str, SetName], dropped: Counter[str], role: str
) -> dict[SetName, list[Example]]:
    """The rows of each set, without those whose content an earlier set has.

    Args:
        examples: The rows of all sets.
        homes: The set of each ``content_id`` that has occurred; it is extended.
        dropped: Counts the rows that are left out.
        role: ``query`` or ``candidate``, for the reason in ``dropped``.
    """
    sets: dict[SetName, list[Example]] = {}
    for example in examples:
        name = example.task, example.dataset
        if homes.setdefault(example.content_id, name) == name:
            sets.setdefault(name, []).append(example)
        else:
            dropped[f"{role}: in an earlier set too"] += 1
    return sets


def _mine(
    queries: Sequence[Example],
    pool: Sequence[Example],
    k: int,
    minimum: int,
    keep_empty: bool,
    backend: Backend,
    advance: Advance,
) -> Candidates:
    dropped: Counter[str] = Counter()
    queries = _distinct(queries, keep_empty, dropped, "query")
    pool = _distinct(pool, keep_empty, dropped, "candidate")
    if not queries or not pool or k < 1:
        raise TrainingError(f"nothing to mine: {len(queries)} queries, {len(pool)} demonstrations, k={k}")
    rows = _search(queries, pool, k, _searcher(pool, backend, len(queries)), advance)
    minimum = max(minimum, 1)
    kept = [i for i, (ids, _) in enumerate(rows) if len(ids) >= minimum]
    if len(kept) < len(queries):
        dropped[f"query: fewer than {minimum} candidates"] = len(queries) - len(kept)
    if not kept:
        raise TrainingError(f"no query has {minimum} candidates: the pool has {len(pool)} demonstrations")
    return Candidates(
        tuple(queries[i].content_id for i in kept),
        tuple(rows[i][0] for i in kept),
        tuple(rows[i][1] for i in kept),
        dropped=dict(dropped),
    )


def _search(queries: Sequence[Example], pool: Sequence[Example], k: int, search: Search, advance: Advance) -> list[Row]:
    """Ids and scores of every query's candidates."""
    texts: dict[str, int] = {}
    text_of = np.array([texts.setdefault(text_hash(example.text), len(texts)) for example in pool])
    own = np.array([texts.get(text_hash(example.text), -1) for example in queries])
    more = np.where(own < 0, 0, np.bincount(text_of)[own])  # fetched beyond k, because some will be left out
    names = np.array([example.content_id for example in pool], object)
    rows: dict[int, Row] = {}
    order = np.argsort(more, kind="stable")  # only batches with a text of many copies fetch more
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        tokens = [query_tokens(queries[i].query) for i in batch]
        documents, scores = search(tokens, min(k + int(more[batch].max()), len(pool)))
        scores[text_of[documents] == own[batch, None]] = -np.inf
        ranked = np.lexsort((documents, -scores), axis=1)[:, :k]
        documents, scores = np.take_along_axis(documents, ranked, 1), np.take_along_axis(scores, ranked, 1)
        left = np.isfinite(scores).sum(1).tolist()
        for i, ids, values, size in zip(batch, names[documents].tolist(), scores.tolist(), left, strict=True):
            rows[int(i)] = tuple(ids[:size]), tuple(values[:size])
        advance(len(batch))
    return [rows[i] for i in range(len(queries))]


def _distinct(examples: Sequence[Example], keep_empty: bool, dropped: Counter[str], role: str) -> list[Example]:
    """The rows without repeats, and unless ``keep_empty`` without rows that have no annotations."""
    kept: dict[str, Example] = {}
    for example in examples:
        if not keep_empty and not example.annotation_labels:
            dropped[f"{role}: nothing annotated"] += 1
        elif example.content_id in kept:
            dropped[f"{role}: repeated"] += 1
        else:
            kept[example.content_id] = example
    return list(kept.values())


def _searcher(pool: Sequence[Example], backend: Backend, queries: int) -> Search:
    documents = [example_tokens(example) for example in pool]
    if backend == "rank_bm25":
        return _plain_search(documents)
    return BM25Index(documents, compiled=pays_to_compile(queries, len(pool))).search


def _plain_search(documents: list[list[str]]) -> Search:
    from rank_bm25 import BM25Okapi

    index = BM25Okapi(documents)

    def search(queries: Sequence[Sequence[str]], k: int) -> Ranked:
        scores = np.stack([index.get_scores(words) for words in queries])
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return rows, np.take_along_axis(scores, rows, 1).astype(np.float32)

    return search
