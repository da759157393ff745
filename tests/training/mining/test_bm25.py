"""Mining: the lists of rank_bm25, each query's own text left out, and what is dropped is counted."""

import json
import random
import resource

import numpy as np
import pytest
from rank_bm25 import BM25Okapi
from ruie_training.data.candidates import Candidates, by_id
from ruie_training.errors import RunError, TrainingError
from ruie_training.mining.bm25 import mine, mine_sets

from ruie_components import Example, lexical
from ruie_components.errors import RowError
from ruie_components.lexical import example_tokens, query_tokens

WORDS = [f"w{number}" for number in range(60)]


def row(text, *, dataset="toy", task="NER", labels=("person", "place"), annotated=True):
    """An example whose first word is annotated."""
    span = {"text": text.split()[0], "start": 0, "end": len(text.split()[0])}
    if task == "ED":
        events = [{"type": labels[0], "trigger": span}] if annotated else []
        return Example(task=task, text=text, labels=labels, dataset=dataset, events=events)
    entities = [{**span, "type": labels[0]}] if annotated else []
    return Example(task=task, text=text, labels=labels, dataset=dataset, entities=entities)


def random_rows(count, seed=0, **options):
    draw = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(len(WORDS))]
    return [row(" ".join(draw.choices(WORDS, weights, k=draw.randint(3, 20))), **options) for _ in range(count)]


def yardstick(queries, pool, k):
    """rank_bm25 row by row: ids and scores of the k best whose text is not the query's."""
    index = BM25Okapi([example_tokens(example) for example in pool])
    for query in queries:
        scores = index.get_scores(query_tokens(query.query))
        order = [place for place in np.argsort(-scores, kind="stable") if pool[place].text != query.text][:k]
        yield [pool[place].content_id for place in order], scores[order]


def assert_same_lists(candidates, queries, pool, k):
    """The same scores at every rank, and the same ids but for those that share a score with a neighbour."""
    assert candidates.query_ids == tuple(query.content_id for query in queries)
    for (_, ids, scores), (wanted, wanted_scores) in zip(candidates, yardstick(queries, pool, k), strict=True):
        assert len(ids) == len(set(ids)) == len(wanted)
        np.testing.assert_allclose(scores, wanted_scores, rtol=1e-5)
        last = wanted_scores[-1]
        clear = {found for found, score in zip(wanted, wanted_scores, strict=True) if score > last * (1 + 1e-5)}
        assert clear <= set(ids)
        exact = dict(zip(wanted, wanted_scores, strict=True))
        for found, score in zip(ids, scores, strict=True):
            assert found not in exact or exact[found] == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize("backend", ["bm25s", "rank_bm25"])
def test_the_lists_of_rank_bm25(backend):
    pool = random_rows(150)
    queries = [*pool[:20], *random_rows(10, seed=1)]
    assert_same_lists(mine(queries, pool, k=40, backend=backend, progress=False), queries, pool, 40)


@pytest.mark.parametrize("name", ["NER/CoNLL2003", "RE/semeval-2010-task-8", "ED/CASIE", "EAE/RAMS", "NER/MSRA_zh"])
def test_the_lists_of_rank_bm25_on_real_rows(read_rows, name):
    pool = list(by_id(read_rows(name, "train", 400)).values())
    queries = pool[:15]
    assert_same_lists(mine(queries, pool, k=100, progress=False), queries, pool, 100)


@pytest.mark.slow
def test_the_compiled_search_finds_the_same(monkeypatch):
    pool = random_rows(300)
    plain = mine(pool, pool, k=20, progress=False)
    monkeypatch.setattr(lexical, "COMPILED_FROM", 0)
    compiled = mine(pool, pool, k=20, progress=False)
    for (_, _, scores), (_, _, wanted) in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(scores, wanted, rtol=1e-5)
    assert_same_lists(compiled, pool, pool, 20)


def test_every_copy_of_the_own_text_is_left_out():
    own = [row("Ada met Bob .", labels=labels) for labels in (("person",), ("place",), ("thing",))]
    pool = [*own, *random_rows(10), row("Ada met Eve .")]
    found = mine(own[:1], pool, k=11, progress=False)
    assert len(found.candidate_ids[0]) == 11
    assert not {example.content_id for example in own} & set(found.candidate_ids[0])
    assert found.candidate_ids[0][0] == pool[-1].content_id


def test_equal_scores_keep_the_order_of_the_pool():
    pool = [row(f"{name} sleeps .") for name in ("Ada", "Bob", "Cid", "Dan")]
    found = mine([row("Eve sleeps .")], pool, k=4, progress=False)
    assert found.candidate_ids[0] == tuple(example.content_id for example in pool)


def test_repeats_and_empty_rows_are_counted():
    rows = [*random_rows(6), row("nothing here", annotated=False)]
    found = mine([*rows, rows[0]], [*rows, rows[1], rows[2]], k=3, keep_empty=False, progress=False)
    assert len(found) == 6
    assert found.dropped == {
        "query: repeated": 1,
        "query: nothing annotated": 1,
        "candidate: repeated": 2,
        "candidate: nothing annotated": 1,
    }
    assert len(mine(rows, rows, progress=False)) == 7


def test_a_query_with_too_few_candidates_is_counted():
    pool = [row("Ada sleeps ."), row("Bob sleeps .")]
    found = mine([row("Eve sleeps ."), pool[0]], pool, minimum=2, progress=False)
    assert (len(found), found.dropped) == (1, {"query: fewer than 2 candidates": 1})


@pytest.mark.parametrize(
    ("queries", "pool"),
    [([], [row("Ada sleeps .")]), ([row("Ada sleeps .")], []), ([row("Ada sleeps .")], [row("Ada sleeps .")])],
    ids=["no queries", "no pool", "only the query itself"],
)
def test_nothing_to_mine_is_an_error(queries, pool):
    with pytest.raises(TrainingError, match=r"nothing to mine|no query has"):
        mine(queries, pool, progress=False)
    with pytest.raises(TrainingError, match="no set has a query"):
        mine_sets(queries, pool, progress=False)


def test_candidates_come_from_the_own_task_and_set():
    first = random_rows(8, dataset="first")
    second = random_rows(8, seed=1, dataset="second", labels=("film", "actor"))
    events = random_rows(8, seed=2, dataset="first", task="ED")
    lonely = [row("Ada was alone .", dataset="third", labels=("one",))]
    rows = [*first, *second, *events, *lonely]
    found = mine_sets(rows, rows, progress=False)
    home = {example.content_id: (example.task, example.dataset) for example in rows}
    assert len(found) == 24
    for query, ids, _ in found:
        assert {home[query]} == {home[candidate] for candidate in ids}
        assert len(ids) == 7
    assert found.dropped == {"query: its set has too few candidates": 1}


def test_a_row_of_two_sets_counts_in_the_first():
    first = random_rows(6, dataset="first")
    second = [*random_rows(5, seed=1, dataset="second"), first[0].model_copy(update={"dataset": "second"})]
    found = mine_sets([*first, *second], [*first, *second], progress=False)
    assert found.query_ids.count(first[0].content_id) == 1
    assert found.dropped == {"query: in an earlier set too": 1, "candidate: in an earlier set too": 1}
    assert by_id(first, second)[first[0].content_id].dataset == "first"


def test_same_input_same_result():
    rows = random_rows(50)
    assert mine(rows, rows, k=9, progress=False) == mine(rows, rows, k=9, progress=False)


CANDIDATES = Candidates(
    ("q1", "q2", "q3"), (("a", "b"), ("b",), ()), ((2.0, 1 / 3), (float(np.float32(0.1)),), ()), dropped={"repeated": 3}
)


@pytest.mark.parametrize("name", ["candidates.jsonl", "candidates.jsonl.gz"])
def test_saved_and_loaded(tmp_path, name):
    CANDIDATES.save(tmp_path / name)
    assert Candidates.load(tmp_path / name) == CANDIDATES
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_shards_join():
    parts = [CANDIDATES.shard(index, 2) for index in range(2)]
    assert [part.query_ids for part in parts] == [("q1", "q3"), ("q2",)]
    joined = Candidates.join(parts)
    assert sorted(joined) == sorted(CANDIDATES)
    assert joined.dropped == CANDIDATES.dropped
    with pytest.raises(ValueError, match="no shard 2 of 2"):
        CANDIDATES.shard(2, 2)
    with pytest.raises(ValueError, match="one kind of score"):
        Candidates.join([CANDIDATES, Candidates((), (), (), "reward")])


def test_columns_must_fit():
    with pytest.raises(ValueError, match="differ in length"):
        Candidates(("q",), (), ())
    with pytest.raises(ValueError, match="query q has 1 candidate, but 2 scores"):
        Candidates(("q",), (("a",),), ((1.0, 2.0),))


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        ([], RowError, "line 1: not the header"),
        ([{"version": 1}], RowError, "line 1: not the header"),
        ([{"candidates": "bm25", "version": 9, "queries": 0, "dropped": {}}], RunError, "version 9"),
        (["{"], RowError, "line 1: not the header"),
        ([None, {"query": "q1", "ids": ["a"]}], RowError, "line 2: not a row"),
        ([None, {"query": "q1", "ids": ["a"], "scores": []}], RowError, "line 2: 1 id, but 0 scores"),
        (
            [None, {"query": "q1", "ids": ["a"], "scores": [1]}],
            RunError,
            "is incomplete: 1 of 2 queries; write it again",
        ),
    ],
)
def test_a_broken_file_says_what_is_wrong(tmp_path, broken, error, message):
    header = {"candidates": "bm25", "version": 1, "queries": 2, "dropped": {}}
    lines = [line if isinstance(line, str) else json.dumps(line or header) for line in broken]
    path = tmp_path / "candidates.jsonl"
    path.write_text("\n".join(lines), "utf-8")
    with pytest.raises(error, match=message) as caught:
        Candidates.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(RunError, match="no candidates at"):
        Candidates.load(tmp_path / "none.jsonl")


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "candidates.jsonl"
    CANDIDATES.save(path)
    many = Candidates(tuple(map(str, range(2000))), (("a" * 32,),) * 2000, ((1.0,),) * 2000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # the nearest thing to a full disk
    try:
        with pytest.raises(RunError, match="can't be written"):
            many.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Candidates.load(path) == CANDIDATES
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
