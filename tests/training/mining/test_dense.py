"""Candidates by an encoder, and random ones."""

import numpy as np
import pytest
from ruie_training.data.candidates import Candidates, by_id
from ruie_training.errors import TrainingError
from ruie_training.mining.bm25 import mine_sets
from ruie_training.mining.dense import add_random, by_set, mine_dense

from ruie_components import Example


@pytest.fixture(scope="module")
def rows(starter_rows):
    return [row.model_copy(update={"dataset": "starter"}) for task in ("NER", "ED") for row in starter_rows(task)[:30]]


def test_the_nearest_of_the_same_set_are_candidates(rows, encoder):
    mined = mine_dense(rows, rows, encoder, k=5, progress=False)
    examples = by_id(rows)
    assert mined.query_ids == tuple(examples)
    assert mined.kind == "cosine"
    news = [row for row in rows if row.task == "NER"]
    cosines = encoder.encode_queries([row.query for row in news]) @ encoder.encode_examples(news).T
    np.fill_diagonal(cosines, -1)  # each text occurs once
    order = np.argsort(-cosines, kind="stable")[:, :5]
    expected = [tuple(news[column].content_id for column in row) for row in order]
    assert list(mined.candidate_ids[: len(news)]) == expected
    for query, ids, scores in mined:
        assert {examples[name].task for name in ids} == {examples[query].task}
        assert all(examples[name].text != examples[query].text for name in ids)
        assert list(scores) == sorted(scores, reverse=True)


def test_a_query_without_candidates_is_counted_and_none_at_all_is_an_error(rows, encoder):
    lone = Example(task="RE", text="Ada met Bob.", labels=["met"], dataset="starter")
    mined = mine_dense([*rows, lone], [*rows, lone], encoder, k=3, progress=False)
    assert len(mined) == len(rows)
    assert mined.dropped == {"query: no candidate": 1}
    with pytest.raises(TrainingError, match="no query has a candidate"):
        mine_dense([lone], [], encoder, progress=False)


def test_random_candidates_come_last_from_the_own_set_and_are_no_repeats(rows):
    examples = by_id(rows)
    first = rows[0].content_id
    mined = Candidates((first,), ((rows[1].content_id, rows[2].content_id),), ((0.9, 0.4),))
    more = add_random(mined, examples, by_set(rows).values(), 10, seed=0)
    ids, scores = more.candidate_ids[0], more.scores[0]
    assert ids[:2] == mined.candidate_ids[0]
    assert 7 <= len(ids) - 2 <= 10
    assert len(set(ids)) == len(ids)
    assert first not in ids
    assert {examples[name].task for name in ids} == {rows[0].task}
    assert set(scores[2:]) == {0.4}
    assert more == add_random(mined, examples, by_set(rows).values(), 10, seed=0)
    assert more != add_random(mined, examples, by_set(rows).values(), 10, seed=1)
    assert len(add_random(mined, examples, by_set(rows).values(), 1000, seed=0).candidate_ids[0]) == 29


def test_a_row_of_two_sets_has_candidates_of_the_first_alone(rows, encoder):
    first, second = ([row.model_copy(update={"dataset": name}) for row in rows[:20]] for name in ("first", "second"))
    others = [row.model_copy(update={"dataset": "second"}) for row in rows[20:30]]
    pool = [*first, *second, *others]
    examples = by_id(pool)
    mined = mine_sets(pool, pool, k=3, progress=False)
    more = add_random(mined, examples, by_set(pool).values(), 10, seed=0)
    dense = mine_dense(pool, pool, encoder, k=30, progress=False)
    for candidates in (more, dense):
        assert len(candidates) == 30
        for query, ids, _ in candidates:
            assert {examples[name].dataset for name in ids} == {examples[query].dataset}
    assert dense.dropped == {"candidate: in an earlier set too": 20, "query: in an earlier set too": 20}
