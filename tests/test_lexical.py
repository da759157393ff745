"""BM25: scores of rank_bm25, which is the yardstick, and of Lucene's formula."""

from collections import Counter

import numpy as np
import pytest
from rank_bm25 import BM25Okapi

from ruie_components import Example, Query
from ruie_components.lexical import BM25Index, example_tokens, query_tokens, score_documents

WORDS = [f"w{number}" for number in range(40)]


def random_documents(count: int, seed: int = 3) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, len(WORDS) + 1)
    return [rng.choice(WORDS, rng.integers(1, 15), p=weights / weights.sum()).tolist() for _ in range(count)]


def lucene(documents: list[list[str]], query: list[str]) -> list[float]:
    """BM25 by hand, each word of the query as often as it occurs there."""
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for word in query:
            having, often = sum(word in each for each in documents), document.count(word)
            weight = np.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
            score += weight * often / (often + 1.5 * (0.25 + 0.75 * len(document) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize("query", [["w1", "w3", "w3", "w39"], ["unheard"], [], ["w0"]])
def test_okapi_scores_are_those_of_rank_bm25(query):
    documents = random_documents(120)
    np.testing.assert_allclose(
        BM25Index(documents).scores(query), BM25Okapi(documents).get_scores(query), rtol=1e-5, atol=1e-6
    )


def test_lucene_scores_follow_its_formula():
    documents, query = random_documents(50), ["w0", "w2", "w2", "w30"]
    np.testing.assert_allclose(BM25Index(documents, "lucene").scores(query), lucene(documents, query), rtol=1e-5)
    few = score_documents(list(map(Counter, documents)), Counter(["w0", "w2", "w30"]))
    np.testing.assert_allclose(few, lucene(documents, ["w0", "w2", "w30"]), rtol=1e-9)


def test_in_a_pool_of_two_a_shared_word_does_not_count_against_a_document():
    scores = BM25Index([["a", "b", "c"], ["a", "c", "d"]]).scores(["a", "b", "c"])
    assert scores[0] >= scores[1] >= 0


def test_words_that_all_queries_share_count_like_any_other():
    documents = [["a", "b", "c"], ["a", "a", "d"], ["b", "e", "e"], ["f"]]
    index, exact = BM25Index(documents), BM25Okapi(documents)
    for queries in ([["a", "e", "b"], ["a", "d", "b"]], [["a", "b"]], [["a"], ["a", "a"]], [["unknown"], ["f"]], [[]]):
        hits, scores = index.search(queries, 4)
        for query, rows, values in zip(queries, hits, scores, strict=True):
            assert sorted(rows) == [0, 1, 2, 3]
            np.testing.assert_allclose(values, exact.get_scores(query)[rows], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(values, index.scores(query)[rows], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_compiled_search_gives_the_same_scores():
    pytest.importorskip("numba", reason="numba is not installed")
    documents = random_documents(300)
    plain, compiled = BM25Index(documents), BM25Index(documents, compiled=True)
    np.testing.assert_allclose(compiled.search(documents[:20], 10)[1], plain.search(documents[:20], 10)[1], rtol=1e-5)


def test_an_index_without_a_word_scores_zero():
    index = BM25Index([[], []])
    assert len(index) == 2
    assert index.scores(["a"]).tolist() == [0, 0]
    assert index.search([["a"], []], 2)[1].tolist() == [[0, 0], [0, 0]]


def test_blocks_are_compared_the_example_with_its_answer():
    ada = {"text": "Ada", "start": 0, "end": 3, "type": "person"}
    example = Example(task="NER", text="Ada slept.", labels=["person"], entities=[ada])
    tokens = ["task", "named", "entity", "recognition", "schema", "person", "input", "ada", "slept", "output"]
    assert query_tokens(example.query) == tokens
    assert query_tokens(Query(task="NER", text="Ada slept.", labels=["person"])) == tokens
    assert example_tokens(example) == [*tokens, "person", "ada"]
