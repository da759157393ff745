import dataclasses

import numpy as np
import pytest
from rank_bm25 import BM25Okapi
from ruie_training.evaluation.rankers import rank_by_bm25

from ruie_components import DemonstrationStore, Example, Query, StoreError
from ruie_components.lexical import example_tokens, query_tokens
from ruie_components.selection import Method, Selector
from ruie_components.selection.bm25 import LexicalIndex
from ruie_components.selection.candidates import MatrixSource
from ruie_components.selection.diversity import cover, mmr
from ruie_components.selection.hybrid import count_tokens, hybrid_scores
from ruie_components.store import Hit

LABELS = ["person", "place", "rare, [label]", "never"]


def example(text: str, **spans: str) -> Example:
    entities = [
        {"text": span, "type": label.replace("_", " "), "start": text.index(span), "end": text.index(span) + len(span)}
        for label, span in spans.items()
    ]
    return Example(task="NER", text=text, labels=LABELS, entities=entities)


def query(text: str, labels=LABELS) -> Query:
    return Query(task="NER", text=text, labels=labels)


@pytest.fixture(scope="module")
def store(encoder):
    pool = [example(f"Ada slept in Rome {number}.", person="Ada") for number in range(60)]
    pool += [example(f"Oslo {number}", place="Oslo") for number in range(3)]
    rare = {"text": "zzz", "type": "rare, [label]", "start": 0, "end": 3}
    pool.append(Example(task="NER", text="zzz qqq", labels=LABELS, entities=[rare]))
    with DemonstrationStore.create(pool, encoder=encoder) as store:
        yield store


@pytest.mark.parametrize("method", list(Method))
def test_every_method_gives_k_best_first_without_the_querys_own_text(store, method):
    asked = [query("Ada slept in Rome 7."), query("Oslo  1 ")]
    selector = Selector(method=method, k=5)
    chosen = selector.select_many(store, asked)
    assert chosen == [selector.select(store, each) for each in asked]
    for demonstrations, own in zip(chosen, ["Ada slept in Rome 7.", "Oslo 1"], strict=True):
        scores = [each.score for each in demonstrations]
        assert scores == sorted(scores, reverse=True)
        assert len({each.example.content_id for each in demonstrations}) == 5
        assert own not in [each.example.text for each in demonstrations]


@pytest.mark.parametrize("method", list(Method))
def test_k_over_the_pool_gives_all_and_k_of_zero_none(store, method):
    asked = query("Ada slept in Rome 7.")
    assert len(Selector(method=method, k=500).select(store, asked)) == store.count() - 1
    assert Selector(method=method, k=0).select(store, asked) == []


@pytest.mark.parametrize("method", list(Method))
def test_a_threshold_leaves_out_what_scores_lower(store, method):
    asked = query("Ada slept in Rome 99.")
    found = Selector(method=method, k=10).select(store, asked)
    middle = (found[0].score + found[-1].score) / 2
    kept = Selector(method=method, k=10, score_threshold=middle).select(store, asked)
    assert found[0] in kept
    assert all(each.score >= middle for each in kept)
    assert Selector(method=method, k=10, score_threshold=1000.0).select(store, asked) == []


@pytest.mark.parametrize("method", list(Method))
def test_a_task_that_the_pool_lacks_is_an_error_that_says_what_it_has(store, method):
    with pytest.raises(StoreError, match=r"no ED examples.*tasks it has: NER"):
        Selector(method=method).select(store, Query(task="ED", text="a", labels=["b"]))


def test_label_coverage_shows_every_label_that_the_pool_has(store):
    asked = query("Ada slept in Rome 99.")
    nearest = Selector(method="similarity", k=4).select(store, asked)
    assert {entity.type for each in nearest for entity in each.example.entities} == {"person"}
    covering = Selector(method="label-coverage", k=4).select(store, asked)
    assert {entity.type for each in covering for entity in each.example.entities} == set(LABELS) - {"never"}
    assert covering[0] == nearest[0]
    narrow = Selector(method="label-coverage", k=4).select(store, query("Ada slept in Rome 99.", ["person"]))
    assert narrow == nearest


def test_the_cover_takes_what_shows_most_then_the_nearest():
    def near(name: str, score: float, *labels: str) -> Hit:
        return Hit(name, score, {"labels": list(labels)}, "here")

    rows = [near("a", 0.9), near("b", 0.8, "x"), near("c", 0.7, "x", "y"), near("d", 0.6, "z"), near("e", 0.5)]
    assert [choice.candidate.id for choice in cover(rows, ["x", "y", "z"], 4)] == ["c", "d", "a", "b"]
    assert [choice.candidate.id for choice in cover(rows, ["x", "y", "z"], 1)] == ["c"]
    assert [choice.candidate.id for choice in cover(rows, ["w"], 2)] == ["a", "b"]


def test_mmr_is_its_formula():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(30, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = vectors @ vectors[0]
    order = np.argsort(-scores)
    rows = [Hit(str(i), float(scores[i]), {}, "here", vectors[i]) for i in order]
    chosen = [int(choice.candidate.id) for choice in mmr(rows, 6, 0.4)]
    expected = [int(order[0])]
    while len(expected) < 6:
        gains = {
            place: 0.4 * scores[place] - 0.6 * max(float(vectors[place] @ vectors[each]) for each in expected)
            for place in range(30)
            if place not in expected
        }
        expected.append(max(gains, key=gains.get))
    assert chosen == expected
    assert [choice.candidate for choice in mmr(rows, 6, 1.0)] == rows[:6]


def test_random_is_the_same_for_the_same_query_and_seed_only(store):
    def texts(selector: Selector, asked: Query) -> list[str]:
        return [each.example.text for each in selector.select(store, asked)]

    selector, asked = Selector(method="random", k=6), query("Ada slept in Rome 99.")
    assert texts(selector, asked) == texts(selector, asked)
    assert texts(selector, asked) != texts(dataclasses.replace(selector, seed=1), asked)
    assert texts(selector, asked) != texts(selector, query("Ada slept in Rome 98."))
    drawn = {text for number in range(60) for text in texts(selector, query(f"Bob {number}"))}
    assert len(drawn) > 50  # not always the same corner of the pool


def test_bm25_ranks_as_rank_bm25_does():
    rng = np.random.default_rng(5)
    vocabulary = [f"word{number}" for number in range(60)]
    pool = [example(" ".join(rng.choice(vocabulary, size=rng.integers(3, 12)))) for _ in range(80)]
    asked = query("word1 word2 word3 word40 unheard")
    documents = [example_tokens(each) for each in pool]
    yardstick = BM25Okapi(documents)
    yardstick.idf = {  # Lucene's weights, which are never negative
        word: np.log(1 + (80 - having + 0.5) / (having + 0.5))
        for word in {word for document in documents for word in document}
        if (having := sum(word in document for document in documents))
    }
    scores = yardstick.get_scores(query_tokens(asked)) / 2.5  # Lucene leaves the constant k1 + 1 out
    hits = LexicalIndex(pool).search(asked, 10)
    assert [score for _, score in hits] == pytest.approx(sorted(scores, reverse=True)[:10], rel=1e-5)
    assert [scores[i] for i, _ in hits] == pytest.approx([score for _, score in hits], rel=1e-5)


def test_bm25_is_the_ranking_of_the_tables(store):
    pool = list(store.examples("NER"))
    queries = [example("Ada slept in the old harbour."), example("Bob met a whale.")]
    expected = np.sort(rank_by_bm25(queries, pool))[:, :-6:-1]
    chosen = Selector(method="bm25", k=5).select_many(store, [each.query for each in queries])
    np.testing.assert_allclose([[each.score for each in some] for some in chosen], expected, rtol=1e-5)


def test_bm25_sees_what_was_added_and_deleted(encoder):
    with DemonstrationStore.create([example("Ada slept.")], encoder=encoder) as store:
        selector, asked = Selector(method="bm25", k=1), query("a whale sang")
        assert selector.select(store, asked)[0].example.text == "Ada slept."
        whale = example("The whale dived.")
        store.add([whale])
        assert selector.select(store, asked)[0].example == whale
        store.delete([whale.content_id])
        assert selector.select(store, asked)[0].example.text == "Ada slept."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "best"}, "method 'best' is unknown; there are: similarity, label-vote, hybrid, mmr"),
        ({"k": -1}, "k must be a whole number >= 0, got -1"),
        ({"k": 2.5}, r"k must be a whole number >= 0, got 2\.5"),
        ({"k": "3"}, "k must be a whole number >= 0, got '3'"),
        ({"k": True}, "k must be a whole number >= 0, got True"),
        ({"k": np.float64(4)}, r"k must be a whole number >= 0, got np\.float64\(4\.0\)"),
        ({"fetch_k": 0}, "fetch_k must be a whole number >= 1, got 0"),
        ({"lambda_mult": 1.5}, r"lambda_mult must be between .* got 1\.5"),
    ],
)
def test_wrong_options_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        Selector(**options)


def test_any_integer_is_a_number():
    selector = Selector(k=np.int64(4), fetch_k=np.uint8(50))
    assert repr(selector) == repr(Selector(k=4, fetch_k=50))  # runs of equal settings resume


def test_hybrid_puts_one_that_shares_a_rare_word_before_equally_similar_ones(encoder):
    pool = [example(f"{name} slept in {place}.") for name in ("Ada", "Bob", "Cy") for place in ("xanadu", "yonder")]
    asked = query("Dan slept in xanadu.")
    with DemonstrationStore.create(pool, encoder=encoder) as store:
        hits = store.nearest([asked], 6)[0]
        chosen = Selector("hybrid", k=6).select(store, asked)
    expected = hybrid_scores(
        [hit.score for hit in hits], [count_tokens(hit.text) for hit in hits], count_tokens(asked.text)
    ).fused
    assert [each.score for each in chosen] == pytest.approx(sorted(expected, reverse=True))
    assert {each.example.text.split()[-1] for each in chosen[:3]} == {"xanadu."}


def test_examples_of_another_schema_come_last_by_similarity(encoder):
    foreign = [Example(task="NER", text=f"Ada slept in Rome {number}.", labels=["animal"]) for number in range(9)]
    own = [example("Bob met Cy at Acme."), example("Oslo works for Acme.")]
    asked = query("Ada slept in Rome.", ["person", "date"])
    with DemonstrationStore.create([*foreign, *own], encoder=encoder) as store:
        assert {each.example.text for each in Selector(k=2).select(store, asked)} == {each.text for each in own}
        chosen = Selector(k=4).select(store, asked)
        assert {each.example.text for each in chosen[:2]} == {each.text for each in own}
        assert [each.reason.similarity_rank for each in chosen] == [10, 11, 1, 2]  # filled up with those of another
        assert [each.reason.order for each in chosen] == [1, 2, 3, 4]
        assert chosen == store.search(asked, 4)
        assert [hit.score for hit in store.nearest([asked], 2)[0]] == [each.score for each in chosen[2:]]
        same = Selector(k=2).select(store, query("Ada slept in Rome.", ["animal"]))
        assert all(each.example.labels == ("animal",) for each in same)


def test_examples_of_the_schema_are_found_behind_many_of_another(encoder):
    foreign = [Example(task="NER", text=f"Ada slept in Rome {number}.", labels=["animal"]) for number in range(100)]
    own = [example("Bob met Cy at Acme.", person="Bob"), example("Oslo works for Acme.", person="Oslo")]
    asked = query("Ada slept in Rome.", ["person", "date"])
    with DemonstrationStore.create([*foreign, *own], encoder=encoder) as store:
        assert not {each.text for each in own} & {hit.text for hit in store.nearest([asked], 50)[0]}
        chosen = Selector(k=3).select(store, asked)
        assert {each.example.text for each in chosen[:2]} == {each.text for each in own}
        assert chosen[2].example.labels == ("animal",)


def argument_example(text, event_type):
    trigger = text.split()[1]
    spans = {
        name: {"text": span, "start": text.index(span), "end": text.index(span) + len(span)}
        for name, span in (("trigger", trigger), ("place", "Rome"))
    }
    event = {"type": event_type, "trigger": spans["trigger"], "arguments": [{"role": "place", **spans["place"]}]}
    return Example(task="EAE", text=text, labels=["person", "place"], events=[event])


@pytest.mark.parametrize("method", ["similarity", "hybrid", "mmr", "label-vote"])
@pytest.mark.parametrize("is_matrix", [False, True])
def test_examples_of_another_event_type_come_last(encoder, method, is_matrix):
    """Other event types have other roles, so an example of one shows a language model another task."""
    other = [argument_example(f"Ada married Bob in Rome {number}.", "wedding") for number in range(100)]
    own = [argument_example("Cy left Rome.", "journey"), argument_example("Dan reached Rome.", "journey")]
    asked = argument_example("Ada married in Rome 7.", "journey").query
    selector = Selector(method, k=3)
    if is_matrix:
        pool = [*other, *own]
        vectors = encoder.encode_examples(pool)
        source = MatrixSource(encoder.encode_queries([asked]) @ vectors.T, [asked], pool, vectors)
        chosen = [choice.candidate.example for choice in selector.choose(source)[0]]
    else:
        with DemonstrationStore.create([*other, *own], encoder=encoder) as store:
            assert not {each.text for each in own} & {hit.text for hit in store.nearest([asked], 50)[0]}
            chosen = [each.example for each in selector.select(store, asked)]
    assert {each.text for each in chosen} >= {each.text for each in own}
    assert len(chosen) == 3
    if method in ("similarity", "hybrid"):
        assert [each.query.event.type for each in chosen] == ["journey", "journey", "wedding"]


def test_hybrid_and_mmr_prefer_examples_of_the_schema(encoder):
    foreign = [Example(task="NER", text=f"Ada slept in Rome {number}.", labels=["animal"]) for number in range(9)]
    own = [example("Bob met Cy at Acme."), example("Oslo works for Acme.")]
    asked = query("Ada slept in Rome.", ["person", "date"])
    with DemonstrationStore.create([*foreign, *own], encoder=encoder) as store:
        for method in ("hybrid", "mmr"):
            assert {each.example.text for each in Selector(method, k=2).select(store, asked)} == {e.text for e in own}


def test_a_score_threshold_holds_for_examples_of_the_own_task_too(encoder):
    other = [argument_example(f"Ada married Bob in Rome {number}.", "wedding") for number in range(100)]
    asked = argument_example("Ada married Bob in Rome 7.", "journey").query
    with DemonstrationStore.create([*other, argument_example("Cy left Rome.", "journey")], encoder=encoder) as store:
        far = Selector(k=101).select(store, asked)[0]
        assert far.example.text == "Cy left Rome."
        chosen = Selector(k=2, score_threshold=far.score + 0.01).select(store, asked)
    assert [each.example.query.event.type for each in chosen] == ["wedding", "wedding"]


@pytest.fixture(scope="module")
def weddings(encoder):
    """A hundred weddings, and two journeys that are less like a query about a wedding place."""
    other = [argument_example(f"Ada married Bob in Rome {number}.", "wedding") for number in range(100)]
    own = [argument_example("Cy left Rome.", "journey"), argument_example("Dan reached Rome.", "journey")]
    with DemonstrationStore.create([*other, *own], encoder=encoder) as store:
        yield store


def test_a_threshold_of_the_hybrid_rank_leaves_out_the_own_task_too(weddings):
    asked = argument_example("Ada married in Rome 7.", "journey").query
    everything = Selector("hybrid", k=102, fetch_k=200).select(weddings, asked)
    low = max(each.score for each in everything[:2])
    chosen = Selector("hybrid", k=5, fetch_k=200, score_threshold=low + 1e-6).select(weddings, asked)
    assert [each.example.query.event.type for each in chosen] == ["wedding"] * 5
    assert [each.reason.order for each in chosen] == [1, 2, 3, 4, 5]
    assert all(each.score > low for each in chosen)
    ranks = [each.reason.hybrid_rank for each in everything]
    assert sorted(ranks) == list(range(1, len(ranks) + 1))
    assert ranks[0] > 10  # first by its task, not by its rank


@pytest.mark.parametrize("lambda_mult", [0.0, 1.0])
def test_mmr_is_mmr_among_examples_of_another_task(weddings, lambda_mult):
    asked = argument_example("Ada married in Rome 7.", "journey").query
    chosen = Selector("mmr", k=4, lambda_mult=lambda_mult).select(weddings, asked)
    assert [each.example.query.event.type for each in chosen] == ["journey", "journey", "wedding", "wedding"]
    assert sorted(each.reason.order for each in chosen) == [1, 2, 3, 4]
    assert min(each.reason.similarity_rank for each in chosen) == (
        1 if lambda_mult else chosen[2].reason.similarity_rank
    )
    missing = argument_example("Ada married in Rome 7.", "birth").query
    nearest = [each.example.text for each in Selector(k=4).select(weddings, missing)]
    spread = [each.example.text for each in Selector("mmr", k=4, lambda_mult=lambda_mult).select(weddings, missing)]
    assert (set(spread) == set(nearest)) is bool(lambda_mult)


@pytest.mark.parametrize("method", ["similarity", "hybrid", "mmr", "label-vote", "label-coverage"])
def test_an_event_type_that_the_pool_lacks_gets_the_nearest_of_others(weddings, method):
    asked = argument_example("Ada married in Rome 7.", "birth").query
    assert len(Selector(method, k=3).select(weddings, asked)) == 3


def test_an_example_of_the_event_type_is_own_whatever_roles_it_has(encoder):
    other = [argument_example(f"Ada married Bob in Rome {number}.", "wedding") for number in range(9)]
    roles = argument_example("Cy left Rome.", "journey").model_dump(by_alias=True)
    own = Example.model_validate({**roles, "schema": ["place", "vehicle"]})
    asked = Query(task="EAE", text="Ada left Oslo.", labels=["person"], event={"type": "journey", "trigger": "left"})
    with DemonstrationStore.create([*other, own], encoder=encoder) as store:
        assert Selector(k=1).select(store, asked)[0].example == own


def test_label_voting_finds_examples_of_the_schema_behind_many_of_another(encoder):
    animal = {"text": "Ada", "start": 0, "end": 3, "type": "animal"}
    foreign = [
        Example(task="NER", text=f"Ada slept in Rome {number}.", labels=["animal"], entities=[animal])
        for number in range(100)
    ]
    own = [example("Bob met Cy at Acme.", person="Bob"), example("Oslo works for Acme.", person="Oslo")]
    with DemonstrationStore.create([*foreign, *own], encoder=encoder) as store:
        chosen = Selector("label-vote", k=2).select(store, query("Ada slept in Rome.", ["person", "date"]))
    assert {each.example.text for each in chosen} == {each.text for each in own}


@pytest.mark.parametrize("method", ["similarity", "hybrid", "mmr", "label-vote"])
def test_one_batch_may_have_several_tasks_and_schemas(encoder, method):
    journeys = [argument_example(f"Cy left Rome {number}.", "journey") for number in range(4)]
    weddings = [argument_example(f"Ada married Bob in Rome {number}.", "wedding") for number in range(60)]
    people = [example(f"Ada slept in Rome {number}.", person="Ada") for number in range(5)]
    asked = [
        argument_example("Ada married in Rome 77.", "journey").query,
        query("Ada slept."),
        argument_example("Ada married in Rome 77.", "wedding").query,
    ]
    with DemonstrationStore.create([*journeys, *weddings, *people], encoder=encoder) as store:
        selector = Selector(method, k=3)
        chosen = selector.select_many(store, asked)
        alone = [selector.select(store, each) for each in asked]
    assert [[each.example for each in some] for some in chosen] == [[each.example for each in some] for some in alone]
    assert {each.example.query.event.type for each in chosen[0]} == {"journey"}
    assert {each.example.task for each in chosen[1]} == {"NER"}
    assert {each.example.query.event.type for each in chosen[2]} == {"wedding"}


def test_other_scores_choose_other_examples_of_the_same_matrix(encoder):
    pool = [example(f"Ada slept in Rome {number}.") for number in range(5)]
    source = MatrixSource(np.array([[5.0, 4, 3, 2, 1]]), [query("Bob ran.")], pool, np.ones((5, 2), np.float32))
    assert [each.id for each in source.nearest([0], 2)[0]] == [0, 1]
    other = source.with_scores(np.array([[1.0, 2, 3, 4, 5]]))
    assert [each.id for each in other.nearest([0], 2)[0]] == [4, 3]
    with pytest.raises(ValueError, match="MMR needs vectors"):
        other.nearest([0], 2, vectors=True)
