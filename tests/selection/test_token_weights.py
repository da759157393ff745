"""Pool statistics as weights of tokens."""

import pytest

from ruie_components import DemonstrationStore, Example
from ruie_components.selection.hybrid import count_tokens, hybrid_scores
from ruie_components.selection.token_weights import ELSEWHERE, sample_slices, weigh_tokens
from ruie_components.store.reading import sample


def span(text, words, **more):
    start = text.index(words)
    return {"text": words, "start": start, "end": start + len(words), **more}


TEXT = "We hear that Ada Byron wrote to a man who lived in old Rome"
ENTITY = Example(task="NER", text=TEXT, labels=["person"], entities=[span(TEXT, "Ada Byron", type="person")])
RELATION = Example(
    task="RE",
    text=TEXT,
    labels=["knows"],
    relations=[{"type": "knows", "head": span(TEXT, "Ada Byron"), "tail": span(TEXT, "Rome")}],
)


def close(example):
    return [token for token, weight in weigh_tokens([example]).items() if weight == 1]


def test_tokens_in_and_beside_annotations_weigh_most():
    assert close(ENTITY) == ["hear", "that", "ada", "byron", "wrote", "to"]
    assert close(RELATION) == ["hear", "that", "ada", "byron", "wrote", "to", "in", "old", "rome"]
    assert weigh_tokens([ENTITY])["man"] == ELSEWHERE
    assert weigh_tokens([ENTITY, RELATION])["rome"] == pytest.approx((1 + ELSEWHERE) / 2)
    assert weigh_tokens([]) == {}


def test_a_light_token_counts_less_in_the_hybrid_rank():
    texts = [count_tokens(text) for text in ("the heron", "a boat", "an owl")]
    query = count_tokens("heron boat")
    assert hybrid_scores([0.5] * 3, texts, query, {"heron": 0.3}).fused.argmax() == 1
    assert hybrid_scores([0.5] * 3, texts, query, {"boat": 0.3}).fused.argmax() == 0


def test_a_store_and_a_matrix_count_the_same_sample(encoder):
    rows = [Example(task="NER", text=f"Ada {number}", labels=["person"]) for number in range(100)]
    drawn = [example for part in sample_slices(100, 20) for example in rows[part]]
    with DemonstrationStore.create(rows, encoder=encoder, progress=False) as store:
        assert sample(store._pool, "NER", 20) == drawn


def test_a_sample_is_from_all_parts_of_the_pool(encoder):
    rows = [Example(task="NER", text=f"Ada {number}", labels=["person"]) for number in range(100)]
    with DemonstrationStore.create(rows, encoder=encoder, progress=False) as store:
        numbers = [int(example.text.split()[1]) for example in sample(store._pool, "NER", 20)]
        assert len(set(numbers)) == 20
        assert {number // 25 for number in numbers} == {0, 1, 2, 3}
        assert len(sample(store._pool, "NER", 1000)) == 100
