"""Choosing candidates, scoring them with any scorer, and counting what is left out."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from ruie_training.data.candidates import Candidates, by_id
from ruie_training.errors import TrainingError
from ruie_training.mining.bm25 import mine_sets
from ruie_training.pipeline.shards import score_in_shards
from ruie_training.preferences import OTHER_SET, LabelOverlap, choose_candidates, ignore_progress, prefer

from ruie_components import Example
from ruie_components.labels import count_matrices, label_f1_matrix


class Lengths:
    """Scores a demonstration by its length, the nearer to the query's the better; keeps what it was asked."""

    kind = "lengths"

    def __init__(self, replace=lambda pair, score: score):
        self.asked = []
        self.replace = replace

    def score(self, pairs, advance=ignore_progress):
        self.asked += [(demonstration.content_id, query.content_id) for demonstration, query in pairs]
        return [self.replace(pair, -abs(len(pair[0].text) - len(pair[1].text)) / 10) for pair in pairs]


@pytest.fixture
def rows(tiny):
    return tiny.rows(30)


@pytest.fixture
def mined(rows):
    return mine_sets(rows, rows, k=12, progress=False)


def test_scored_best_first(rows, mined):
    examples, scorer = by_id(rows), Lengths()
    found = prefer(mined, examples, scorer, per_query=5, progress=False)
    assert found.kind == "lengths"
    assert found.query_ids == mined.query_ids
    for (query, ids, scores), (_, offered, _) in zip(found, mined, strict=True):
        assert len(ids) == 5
        assert set(ids) <= set(offered)
        assert list(scores) == sorted(scores, reverse=True)
        wanted = [-abs(len(examples[name].text) - len(examples[query].text)) / 10 for name in ids]
        assert list(scores) == pytest.approx(wanted)


def test_all_queries_of_a_demonstration_come_together(rows, mined):
    scorer = Lengths()
    prefer(mined, by_id(rows), scorer, progress=False)
    order = [demonstration for demonstration, _ in scorer.asked]
    assert len(order) == mined.pairs
    assert sum(one != other for one, other in itertools.pairwise(order)) == len(set(order)) - 1


def test_same_seed_same_choice_whatever_else_is_scored(rows, mined):
    once, again = (prefer(mined, by_id(rows), Lengths(), per_query=5, seed=7, progress=False) for _ in range(2))
    assert once == again
    shard = prefer(mined.shard(1, 3), by_id(rows), Lengths(), per_query=5, seed=7, progress=False)
    assert set(shard) <= set(once)
    assert prefer(mined, by_id(rows), Lengths(), per_query=5, seed=8, progress=False) != once


ONE = Candidates(("q",), (tuple("abcdefghij"),), (tuple(map(float, range(10, 0, -1))),))


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"per_query": 3, "choose": "top"}, "abc"),
        ({"per_query": 4, "choose": "spread"}, "adgj"),
        ({"per_query": 1, "choose": "spread"}, "a"),
        ({"per_query": None}, "abcdefghij"),
        ({"per_query": 32}, "abcdefghij"),
    ],
    ids=["top", "spread", "spread one", "all", "fewer than asked for"],
)
def test_ways_to_choose(options, ids):
    found = choose_candidates(ONE, **options)
    assert "".join(found.candidate_ids[0]) == ids
    assert found.scores[0] == tuple(11 - "_abcdefghij".index(name) for name in ids)


def test_a_random_choice_is_even():
    counts = dict.fromkeys("abcdefghij", 0)
    for seed in range(300):
        (chosen,) = choose_candidates(ONE, per_query=3, seed=seed).candidate_ids
        assert list(chosen) == sorted(chosen)
        for name in chosen:
            counts[name] += 1
    assert all(55 < count < 125 for count in counts.values())  # 90 on average


def test_none_to_choose_is_an_error():
    with pytest.raises(ValueError, match="at least 1"):
        choose_candidates(ONE, per_query=0)


def test_a_candidate_of_another_set_or_task_is_put_last(tiny):
    here, there, events = tiny.rows(3), tiny.rows(3, seed=1, dataset="other"), tiny.rows(3, seed=2, task="ED")
    query, *others = [*here[:2], there[0], events[0]]
    ids = tuple(other.content_id for other in others)
    found = prefer(
        Candidates((query.content_id,), (ids,), ((3.0, 2.0, 1.0),)),
        by_id([query, *others]),
        Lengths(lambda pair, score: 0.5),
        progress=False,
    )
    assert found.candidate_ids == (ids,)
    assert found.scores == ((0.5, 0.5 + OTHER_SET, 0.5 + OTHER_SET),)


def test_what_does_not_fit_is_left_out_and_counted(rows, mined):
    unlucky, query = rows[0].content_id, mined.query_ids[3]

    def replace(pair, score):
        return math.nan if pair[0].content_id == unlucky or pair[1].content_id == query else score

    found = prefer(mined, by_id(rows), Lengths(replace), per_query=None, progress=False)
    lost = sum(unlucky in ids or name == query for name, all_ids, _ in mined for ids in zip(all_ids, strict=True))
    assert found.pairs == mined.pairs - lost
    assert query not in found.query_ids
    assert found.dropped == {"pair: longer than the model's context": lost, "query: no candidate could be scored": 1}


def test_nothing_that_fits_is_an_error(rows, mined):
    message = rf"no pair could be scored \(pair: longer than the model's context: {mined.pairs}, "
    with pytest.raises(TrainingError, match=message):
        prefer(mined, by_id(rows), Lengths(lambda pair, score: math.nan), progress=False)


def test_a_part_in_which_nothing_fits_is_counted_and_the_others_go_on(rows, mined, tmp_path):
    """A set of long texts fills whole parts of a job."""
    long = set(mined.query_ids[:10])
    scorer = Lengths(lambda pair, score: math.nan if pair[1].content_id in long else score)

    def score(part):
        return prefer(part, by_id(rows), scorer, per_query=None, may_be_empty=True, progress=False)

    found = score_in_shards(mined, score, tmp_path, size=5)
    assert found.query_ids == mined.query_ids[10:]
    lost = sum(map(len, mined.candidate_ids[:10]))
    assert found.dropped == {"pair: longer than the model's context": lost, "query: no candidate could be scored": 10}


def test_an_infinite_score_is_an_error(rows, mined):
    with pytest.raises(TrainingError, match=f"{mined.pairs} of {mined.pairs} scores are infinite"):
        prefer(mined, by_id(rows), Lengths(lambda pair, score: -math.inf), progress=False)


def test_candidates_of_other_data_are_an_error(rows, mined):
    missing = min(mined.query_ids)
    examples = {name: example for name, example in by_id(rows).items() if name != missing}
    with pytest.raises(TrainingError, match=f"1 of 30 ids .* such as {missing}"):
        prefer(mined, examples, Lengths(), progress=False)


def test_what_was_dropped_before_stays_counted(rows):
    mined = mine_sets([*rows, rows[0]], rows, k=3, progress=False)
    assert prefer(mined, by_id(rows), LabelOverlap(), progress=False).dropped == {"query: repeated": 1}


def test_label_overlap_is_label_f1_matrix(rows):
    overlap = label_f1_matrix(*count_matrices(rows[:10], rows))
    scores = LabelOverlap().score([(demonstration, query) for query in rows[:10] for demonstration in rows])
    np.testing.assert_allclose(np.reshape(scores, overlap.shape), overlap, rtol=1e-6)


def test_repeated_labels_count_as_often_as_they_occur():
    def row(*labels):
        entities = [{"text": "a", "start": 2 * at, "end": 2 * at + 1, "type": label} for at, label in enumerate(labels)]
        return Example(task="NER", text="a a a a", labels=["x", "y"], entities=entities)

    assert LabelOverlap().score([(row("x", "x", "y"), row("x", "y", "y", "y"))]) == [pytest.approx(4 / 7)]


def test_mining_and_label_overlap_need_no_torch():
    """The two stages that a machine without torch can run."""
    code = (
        "import sys\n"
        "import ruie_training.mining.bm25, ruie_training.preferences, ruie_training.preferences.served\n"
        "import ruie_training.preferences.outcome\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
