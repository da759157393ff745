"""Candidates other than BM25's: the most similar ones by an encoder, and random ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ruie_components.encoders import Encoder
from ruie_components.progress import track
from ruie_components.selection.candidates import MatrixSource
from ruie_components.tokenization import text_hash
from ruie_components.types import Example
from ruie_training.data.candidates import Candidates, by_id
from ruie_training.errors import TrainingError
from ruie_training.mining.bm25 import SetName, rows_of_sets


def by_set(
    examples: Iterable[Example],
    homes: dict[str, SetName] | None = None,
    dropped: Counter[str] | None = None,
    role: str = "candidate",
) -> dict[SetName, list[Example]]:
    """The examples of each task and data set, without repeats; arguments as for ``bm25.rows_of_sets``.

    As in ``mine_sets``, an example of several sets counts only in the first: a candidate that is read as one of another
    set gets the penalty ``preferences.OTHER_SET``.
    """
    sets = rows_of_sets(examples, {} if homes is None else homes, Counter() if dropped is None else dropped, role)
    return {name: list(by_id(rows).values()) for name, rows in sets.items()}


def mine_dense(
    queries: Iterable[Example],
    pool: Iterable[Example],
    encoder: Encoder,
    *,
    k: int = 100,
    progress: bool = True,
) -> Candidates:
    """The k most similar demonstrations for every query by an encoder, from the rows of its own task and data set.

    Args:
        queries: The labelled rows to find candidates for.
        pool: The demonstrations; a row with the query's own text is left out.
        encoder: The encoder of both.
        k: The maximum number of candidates of a query.
        progress: Show a bar on stderr.

    Returns:
        Candidates best first, scored by cosine; ``dropped`` counts queries without any, and rows that an earlier set
        has, too.

    Raises:
        TrainingError: No query has a candidate.
    """
    ids: dict[str, tuple[str, ...]] = {}
    scores: dict[str, tuple[float, ...]] = {}
    dropped: Counter[str] = Counter()
    homes: dict[str, SetName] = {}
    pools, query_sets = by_set(pool, homes, dropped), by_set(queries, homes, dropped, "query")
    with track("dense candidates", total=sum(map(len, query_sets.values())), enabled=progress) as advance:
        for name, rows in query_sets.items():
            candidates = pools.get(name, [])
            if not candidates:
                dropped["query: no candidate"] += len(rows)
                advance(len(rows))
                continue
            wanted = [row.query for row in rows]
            cosines = encoder.encode_queries(wanted) @ encoder.encode_examples(candidates).T  # (queries, candidates)
            nearest = MatrixSource(cosines, wanted, candidates).nearest(range(len(rows)), k)
            for row, hits in zip(rows, nearest, strict=True):
                if hits:
                    ids[row.content_id] = tuple(hit.example.content_id for hit in hits)
                    scores[row.content_id] = tuple(hit.score for hit in hits)
                else:
                    dropped["query: no candidate"] += 1
            advance(len(rows))
    if not ids:
        raise TrainingError("no query has a candidate: there is no other text in the pool of its set")
    return Candidates(tuple(ids), tuple(ids.values()), tuple(scores.values()), "cosine", dict(dropped))


def add_random(
    mined: Candidates, queries: Mapping[str, Example], pools: Iterable[Sequence[Example]], count: int, seed: int
) -> Candidates:
    """Add random candidates from the pool of each query to the mined ones.

    Args:
        mined: The candidates of every query.
        queries: Every query by its id.
        pools: Pools of rows; each id occurs in one of them.
        count: The maximum number of added candidates of a query, without repeats and rows of its own text.
        seed: Of the random draw.

    Returns:
        The same queries; added candidates come last and have the lowest score of the query's mined ones.
    """
    draw = np.random.default_rng(seed)
    homes = {example.content_id: rows for rows in pools for example in rows}
    ids, scores = [], []
    for query, known, values in mined:
        rows = homes.get(query, ())
        chosen = [rows[i] for i in draw.choice(len(rows), min(count, len(rows)), replace=False)]
        more = [
            row.content_id
            for row in chosen
            if row.content_id not in known and text_hash(row.text) != text_hash(queries[query].text)
        ]
        ids.append((*known, *more))
        scores.append((*values, *(min(values, default=0.0),) * len(more)))
    return replace(mined, candidate_ids=tuple(ids), scores=tuple(scores))
