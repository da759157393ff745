"""Scoring in shards: what is done stays, and processes share the work."""

import pytest
from ruie_training.data.candidates import Candidates
from ruie_training.errors import RunError
from ruie_training.pipeline.shards import score_in_shards
from ruie_training.processes import Process


def scored_candidates(count):
    return Candidates(
        tuple(f"q{row}" for row in range(count)), (("a", "b"),) * count, ((1.0, 0.0),) * count, dropped={"early": 1}
    )


def test_shards_that_are_done_are_not_scored_again(tmp_path):
    asked = []

    def score(part):
        asked.append(part.query_ids)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return part

    candidates = scored_candidates(7)
    with pytest.raises(KeyboardInterrupt):
        score_in_shards(candidates, score, tmp_path, size=2)
    assert score_in_shards(candidates, score, tmp_path, size=2, label="scores") == candidates
    assert asked == [("q0", "q1"), ("q2", "q3"), ("q4", "q5"), ("q4", "q5"), ("q6",)]


def test_shards_of_another_size_are_not_taken_for_those_of_this(tmp_path):
    candidates = scored_candidates(7)
    for size in (2, 3, 7, 2):
        assert score_in_shards(candidates, lambda part: part, tmp_path, size=size) == candidates


def test_processes_share_the_shards(tmp_path):
    candidates = scored_candidates(6)
    with pytest.raises(RunError, match="did not appear"):
        score_in_shards(candidates, lambda part: part, tmp_path, size=2, process=Process(1, 2), timeout=0)
    assert [path.name for path in tmp_path.iterdir()] == ["queries-0000002-0000004.jsonl.gz"]
    assert score_in_shards(candidates, lambda part: part, tmp_path, size=2, process=Process(0, 2)) == candidates
