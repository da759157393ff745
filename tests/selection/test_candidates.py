"""Every method over every source of candidates, and the reasons of choices."""

import numpy as np
import pytest

from ruie_components import Demonstration, DemonstrationRetriever, DemonstrationStore, Query, Reason, Selector
from ruie_components.selection import Method
from ruie_components.selection.candidates import MatrixSource, demonstrations
from ruie_components.starter import starter_examples

SELECTORS = [Selector(method, k=5, fetch_k=20, seed=3) for method in Method]


@pytest.fixture(scope="module")
def pool():
    return sorted(starter_examples("NER")[:60], key=lambda example: example.content_id)  # ids decide ties


@pytest.fixture(scope="module")
def store(encoder, pool):
    with DemonstrationStore.create(pool, encoder=encoder, progress=False) as store:
        yield store


@pytest.fixture(scope="module")
def queries(pool):
    others = [Query(task="NER", text=each.text, labels=each.labels) for each in starter_examples("NER")[60:64]]
    return [*others, pool[0].query]


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda selector: selector.method)
def test_a_store_and_a_matrix_of_scores_give_the_same_demonstrations(selector, store, pool, queries):
    vectors = store.encoder.encode_examples(pool)
    source = MatrixSource(store.encoder.encode_queries(queries) @ vectors.T, queries, pool, vectors)
    by_matrix = demonstrations(selector.choose(source))
    for chosen, expected in zip(by_matrix, selector.select_many(store, queries), strict=True):
        assert [each.example for each in chosen] == [each.example for each in expected]
        assert [each.score for each in chosen] == pytest.approx([each.score for each in expected], abs=1e-3)
        assert [each.reason.order for each in chosen] == [each.reason.order for each in expected]


def test_mmr_over_a_matrix_without_vectors_is_an_error(pool, queries):
    source = MatrixSource(np.zeros((len(queries), len(pool))), queries, pool)
    with pytest.raises(ValueError, match="MMR needs vectors"):
        Selector("mmr").choose(source)


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda selector: selector.method)
def test_every_demonstration_says_why_it_was_chosen(selector, store, queries):
    for query in queries:
        chosen = selector.select(store, query)
        reasons = sorted((each.reason for each in chosen), key=lambda reason: reason.order)
        assert [reason.order for reason in reasons] == [1, 2, 3, 4, 5]
        assert {reason.method for reason in reasons} == {selector.method}
        added = [label for reason in reasons for label in reason.adds]
        assert len(added) == len(set(added))  # what a demonstration adds, no earlier one has
        for each in chosen:
            assert set(each.reason.adds) <= set(each.reason.labels) <= set(each.example.annotation_labels)
            if selector.method not in ("bm25", "hybrid"):
                assert each.reason.similarity == each.score


def test_the_reasons_of_label_voting_add_up(store, queries):
    chosen = Selector("label-vote", k=500).select(store, queries[0])  # all candidates
    assert sum(each.reason.vote_weight for each in chosen) == pytest.approx(1)
    ranks = range(1, len(chosen) + 1)
    assert sorted(each.reason.similarity_rank for each in chosen) == list(ranks)
    assert sorted(each.reason.hybrid_rank for each in chosen) == list(ranks)
    assert all(0 <= each.reason.label_f1 <= 1 for each in chosen)
    best = min(chosen, key=lambda each: each.reason.bm25_rank)
    assert best.reason.bm25 == max(each.reason.bm25 for each in chosen)


def test_an_explanation_is_a_text_for_people(store):
    text = "Fly me from Oslo to Rome with Aurora Air."
    retriever = DemonstrationRetriever(store, k=2)
    lines = retriever.explain(text).splitlines()
    assert len(lines) == 4
    for demonstration, reason in zip(retriever.retrieve(text), lines[1::2], strict=True):
        assert reason.strip() == str(demonstration.reason)
    assert "choice 1" in str(lines)
    assert retriever.explain(text, k=0) == "no demonstrations"


def test_a_reason_is_no_part_of_equality_or_of_rows(pool):
    plain = Demonstration(example=pool[0], score=0.5)
    explained = Demonstration(example=pool[0], score=0.5, reason=Reason(method="similarity", order=1))
    assert plain == explained
    assert hash(plain) == hash(explained)
    assert "reason" not in repr(explained)
    assert plain != Demonstration(example=pool[0], score=0.4)
    assert Demonstration.model_validate(explained.model_dump()).reason == explained.reason
