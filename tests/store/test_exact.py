"""Small pools are searched exactly: nothing is lost among rows that are nearly equal, and every write is seen."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from ruie_components import DemonstrationStore, Example, Query
from ruie_components.selection import Selector
from ruie_components.store import candidates, exact, open_pool, reindexing
from ruie_components.store.collections import find_collection


def example(number: int, label: str = "product", row_id: str | None = None) -> Example:
    """One of many texts that differ in one word."""
    word = f"Item{number}"
    text = f"The officers in the harbour of Lindal inspected the shipment of {word}, which had arrived late."
    start = text.index(word)
    entity = {"text": word, "type": label, "start": start, "end": start + len(word)}
    return Example(task="NER", text=text, labels=["product", "person"], entities=[entity], id=row_id)


def query(number: int) -> Query:
    return Query(task="NER", text=f"So {example(number).text}", labels=["product", "person"])


def ids(hits) -> list[str]:
    return [hit.id for hit in hits]


@pytest.fixture(scope="module")
def templated():
    """A pool of 600 rows from one template, with the embedded encoder, and the rows."""
    rows = [example(number, "person" if number % 7 == 0 else "product") for number in range(600)]
    with DemonstrationStore.create(rows, progress=False) as store:
        yield store, rows


def test_a_search_finds_the_nearest_of_rows_that_are_nearly_equal(templated):
    store, rows = templated
    queries = [query(number) for number in range(600)]
    scores = store.encoder.encode_queries(queries) @ store.encoder.encode_examples(rows).T  # (600, 600)
    for row, hits in zip(scores, store.nearest(queries, 8), strict=True):
        assert [hit.score for hit in hits] == pytest.approx(np.sort(row)[::-1][:8], abs=1e-6)
    own = store.nearest([each.query.model_copy(update={"text": f"{each.text} "}) for each in rows], 600)
    assert all(len(hits) == 599 and each.content_id not in ids(hits) for each, hits in zip(rows, own, strict=True))


def test_filters_and_vectors_are_those_of_the_index(encoder, monkeypatch):
    rows = [example(number, "person" if number % 7 == 0 else "product") for number in range(30)]
    some = [row.content_id for row in rows[:20]]
    searches = [
        {}, {"labels": ["person"]}, {"labels": ["nobody"]}, {"labels": ["nobody", "person", "product"]},
        {"ids": some}, {"ids": some, "labels": ["person"]},
    ]  # fmt: skip
    with DemonstrationStore.create(rows, encoder=encoder, progress=False) as store:
        by_rows, by_index = [], []
        for largest, results in ((10_000, by_rows), (0, by_index)):
            monkeypatch.setattr(open_pool, "LARGEST", largest)
            store._pool._rows.clear()
            source = store.candidates([query(3), query(99)])
            results += [source.nearest([1, 0], 100, vectors=True, **options) for options in searches]
    assert [[len(hits) for hits in each] for each in by_rows] == [[30, 30], [5, 5], [0, 0], [30, 30], [20, 20], [3, 3]]
    for ours, theirs in zip(by_rows, by_index, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            by_id = {hit.id: hit for hit in other}
            assert sorted(ids(one)) == sorted(by_id)
            for hit in one:
                assert hit.score == pytest.approx(by_id[hit.id].score, abs=1e-5)
                assert hit.vector == pytest.approx(by_id[hit.id].vector, abs=1e-6)
                assert hit.metadata == by_id[hit.id].metadata


def test_a_pool_that_grows_large_is_searched_through_the_index(encoder, monkeypatch):
    monkeypatch.setattr(open_pool, "LARGEST", 5)
    with DemonstrationStore.create([example(n) for n in range(5)], encoder=encoder, progress=False) as store:
        assert len(store._pool.searched("NER")[2]) == 5
        before = store.search(query(9), 5)
        store.add([example(5)])
        assert store._pool.searched("NER")[2] is None
        after = [shown for shown in store.search(query(9), 6) if shown.example != example(5)]
        assert [shown.example for shown in after] == [shown.example for shown in before]


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_every_write_is_seen_by_the_next_search(tmp_path, encoder, make_encoder, where):
    path = None if where == "memory" else tmp_path / "store"
    rows = [example(number) for number in range(20)]

    def found(store: DemonstrationStore) -> dict:
        return {hit.id: hit for hit in store.nearest([query(99)], 100)[0]}

    with DemonstrationStore.create(rows, path, encoder=encoder, progress=False) as store:
        assert found(store).keys() == {row.content_id for row in rows}
        store.add([example(20)])
        assert example(20).content_id in found(store)
        store.delete([rows[0].content_id])
        assert rows[0].content_id not in found(store)
        store.add([rows[0]])
        assert rows[0].content_id in found(store)
        store.sync([example(1, row_id="new"), *rows[2:]])  # of the first row only the metadata change
        assert found(store).keys() == {row.content_id for row in rows[1:]}
        assert found(store)[rows[1].content_id].example.id == "new"
        other = make_encoder(tmp_path / "other", seed=1)
        store.reindex(other)
        scores = store.encoder.encode_examples(rows[1:]) @ store.encoder.encode_queries([query(99)])[0]
        by_id = {row.content_id: score for row, score in zip(rows[1:], scores, strict=True)}
        assert {row_id: hit.score for row_id, hit in found(store).items()} == pytest.approx(by_id, abs=1e-6)


def test_a_write_through_another_store_of_the_folder_is_seen(tmp_path, encoder):
    rows = [example(number) for number in range(5)]
    with (
        DemonstrationStore.create(rows, tmp_path, encoder=encoder, progress=False) as one,
        DemonstrationStore.open(tmp_path, encoder=encoder) as other,
    ):
        assert len(Selector("bm25", k=10).select(one, query(9))) == 5
        assert len(one.nearest([query(9)], 10)[0]) == 5
        other.delete([rows[0].content_id])
        other.add([example(5)])  # as many rows as before
        assert example(5) in [shown.example for shown in Selector("bm25", k=10).select(one, query(9))]
        assert sorted(ids(one.nearest([query(9)], 10)[0])) == sorted(row.content_id for row in [*rows[1:], example(5)])


def test_a_caller_can_not_change_what_other_searches_see(encoder):
    with DemonstrationStore.create([example(0), example(1)], encoder=encoder, progress=False) as store:
        hit = store.candidates([query(9)]).nearest([0], 1, vectors=True)[0][0]
        with pytest.raises(ValueError, match="read-only"):
            hit.vector[:] = 0
        shown = hit.example
        hit.metadata.clear()
        assert store.nearest([query(9)], 1)[0][0].example == shown
    assert not store._pool._rows
    assert not store._pool._cache


def test_a_search_while_a_pool_gets_another_encoder_uses_one_of_them(encoder, tmp_path, make_encoder, monkeypatch):
    other = make_encoder(tmp_path / "other", seed=1)
    rows = [example(number) for number in range(5)]
    turns = [Event() for _ in range(4)]  # the write has begun, searched, its collections are replaced, searched

    def pausing(function, reached, searched):
        def call(*arguments):
            result = function(*arguments)
            reached.set()
            assert searched.wait(30)
            return result

        return call

    with (
        DemonstrationStore.create(rows, encoder=encoder, progress=False) as store,
        ThreadPoolExecutor(1) as thread,
    ):

        def scores() -> dict:
            return {hit.id: hit.score for hit in store.nearest([query(9)], 5)[0]}

        before = scores()
        monkeypatch.setattr(reindexing, "finish", pausing(reindexing.finish, *turns[:2]))
        monkeypatch.setattr(open_pool, "find_collection", pausing(find_collection, *turns[2:]))
        writing = thread.submit(store.reindex, other, progress=False)
        try:
            for reached, searched in (turns[:2], turns[2:]):
                assert reached.wait(30)
                assert scores() == before
                searched.set()
        finally:
            for turn in turns:
                turn.set()
        writing.result()
        assert scores() != before


def test_threads_that_search_while_another_writes_see_whole_rows(encoder):
    rows = [example(number) for number in range(300)]
    kept = {row.content_id for row in rows[:100]}
    done = Event()
    with DemonstrationStore.create(rows[:100], encoder=encoder, progress=False) as store:

        def search(thread: int) -> int:
            searches = 0
            while not done.is_set() or not searches:
                hits = store.nearest([query(thread)], 300)[0]
                assert kept <= set(ids(hits))
                assert all(hit.example.content_id == hit.id for hit in hits)
                searches += 1
            return searches

        with ThreadPoolExecutor(16) as pool:
            searching = [pool.submit(search, thread) for thread in range(15)]
            try:
                for number in range(100, 300, 20):
                    store.add(rows[number : number + 20])
                    store.delete([rows[number].content_id])
            finally:
                done.set()
            assert all(each.result() for each in searching)
        left = {row.content_id for number, row in enumerate(rows) if number < 100 or number % 20}
        assert set(ids(store.nearest([query(0)], 300)[0])) == left


def argument_example(number: int, event_type: str) -> Example:
    text = f"The {event_type} of Item{number} was in Lindal."
    trigger = {"text": event_type, "start": 4, "end": 4 + len(event_type)}
    place = {"role": "place", "text": "Lindal", "start": text.index("Lindal"), "end": len(text) - 1}
    event = {"type": event_type, "trigger": trigger, "arguments": [place]}
    return Example(task="EAE", text=text, labels=["person", "place"], events=[event])


@pytest.mark.parametrize("method", ["similarity", "mmr", "label-vote"])
def test_a_rare_event_type_needs_one_search_of_the_index(encoder, monkeypatch, method):
    counts = {"sale": 70, "theft": 12, "loss": 3, "find": 0}
    rows = [argument_example(number, name) for name, count in counts.items() for number in range(count)]
    asked = {
        name: argument_example(5, "sale").query.model_copy(
            update={"text": "The sale of Item5 was in Oslo.", "event": argument_example(5, name).query.event}
        )
        for name in counts
    }
    selector = Selector(method, k=8)
    searches = []
    search = candidates.search_collection

    def counted(collection, queries, own_texts, k, options, **kept):
        searches.append((k, options.where))
        return search(collection, queries, own_texts, k, options, **kept)

    monkeypatch.setattr(candidates, "search_collection", counted)
    monkeypatch.setattr(exact, "FEW", 20)
    with DemonstrationStore.create(rows, encoder=encoder, progress=False) as store:
        expected = {name: selector.select(store, query) for name, query in asked.items()}
        assert not searches
        monkeypatch.setattr(open_pool, "LARGEST", 0)
        store._pool._rows.clear()
        for name, query in asked.items():
            searches.clear()
            chosen = selector.select(store, query)
            assert [each.example for each in chosen] == [each.example for each in expected[name]]
            assert [each.score for each in chosen] == pytest.approx([each.score for each in expected[name]], abs=1e-5)
            own = sum(each.example.query.event.type == name for each in chosen)
            assert own == min(counts[name], 8)
            assert all(where is None for _, where in searches)  # a filter costs ten times as much
            if counts[name] < 8:
                assert [k for k, _ in searches] == [80]
        store.add([argument_example(number, "loss") for number in (101, 102)])
        chosen = selector.select(store, asked["loss"])
        assert sum(each.example.query.event.type == "loss" for each in chosen) == 5


def test_an_event_type_that_is_not_rare_is_searched_by_the_index(encoder, monkeypatch):
    rows = [argument_example(number, name) for name in ("sale", "theft") for number in range(30)]
    monkeypatch.setattr(open_pool, "LARGEST", 0)
    with DemonstrationStore.create(rows, encoder=encoder, progress=False) as store:
        source = store.candidates([argument_example(99, "theft").query])
        found = []
        for few in (30, 29):
            monkeypatch.setattr(exact, "FEW", few)
            store._pool._cache.clear()
            assert (store._pool.rows_of_event("EAE", store._pool.collection("EAE"), "theft") is None) == (few < 30)
            found.append(source.nearest([0], 30, event_type="theft")[0])
        assert len(found[0]) == 30
        assert sorted(ids(found[0])) == sorted(ids(found[1]))
