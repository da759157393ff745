"""Searches through the index: what is read for them, and what is kept between them."""

import sqlite3
from collections import Counter
from contextlib import closing

import pytest

from ruie_components import DemonstrationStore, Example, Query, Selector
from ruie_components.store import open_pool, search
from ruie_components.store.search import KnownRows, search_collection
from ruie_components.tokenization import text_hash
from ruie_components.types import Task


class Counting:
    """A Chroma collection that counts what is asked of it: searches, and rows whose metadata is read."""

    def __init__(self, collection) -> None:
        self.collection = collection
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name):
        return getattr(self.collection, name)

    def query(self, **options):
        self.asked["queries"] += len(options["query_embeddings"])
        return self.collection.query(**options)

    def get(self, **options):
        self.asked["rows"] += len(options.get("ids") or ()) if "metadatas" in options["include"] else 0
        return self.collection.get(**options)


def example(number: int, labels: tuple[str, ...] = ("ship",)) -> Example:
    return Example(task="NER", text=f"Ship {number} left the harbour of Lindal.", labels=labels)


def query(number: int, labels: tuple[str, ...] = ("ship",)) -> Query:
    return Query(task="NER", text=f"Then ship {number} left the harbour.", labels=labels)


@pytest.fixture
def store(encoder, monkeypatch):
    """A pool that is searched through its index: 40 rows of one schema, 20 of another."""
    monkeypatch.setattr(open_pool, "LARGEST", 0)
    rows = [*(example(number) for number in range(40)), *(example(number, ("boat",)) for number in range(40, 60))]
    with DemonstrationStore.create(rows, encoder=encoder, progress=False) as store:
        yield store


@pytest.fixture
def counted(store):
    """The store's collection, counted."""
    collection = store._pool.collections[Task.NER] = Counting(store._pool.collections[Task.NER])
    return collection


def test_a_larger_search_for_the_same_queries_asks_the_index_once(store, counted):
    source = store.candidates([query(1), query(2)])
    few = source.nearest([0, 1], 4, at_most=30)
    assert counted.asked["queries"] == 2
    many = source.nearest([1], 30)
    assert counted.asked["queries"] == 2
    assert [hit.id for hit in many[0][:4]] == [hit.id for hit in few[1]]
    assert len(many[0]) == 30
    source.nearest([0], 50)  # more than were ranked
    assert counted.asked["queries"] == 3
    alone = store.nearest([query(2)], 30)[0]
    assert {hit.id: hit.metadata for hit in many[0]} == {hit.id: hit.metadata for hit in alone}
    assert [hit.score for hit in many[0]] == pytest.approx([hit.score for hit in alone], abs=1e-6)


def test_filtered_searches_are_not_those_of_all_rows(store):
    source = store.candidates([query(1)])
    first = source.nearest([0], 5, at_most=20)[0]
    others = [hit.id for hit in source.nearest([0], 20)[0] if hit.id not in {each.id for each in first}]
    assert {hit.id for hit in source.nearest([0], 5, ids=others)[0]} <= set(others)
    assert source.nearest([0], 5, vectors=True)[0][0].vector is not None


def test_a_selection_reads_few_rows_where_the_nearest_are_of_the_schema(store, counted):
    assert len(Selector(k=4).select(store, query(1))) == 4
    assert counted.asked == {"queries": 1, "rows": 6}
    assert {each.example.labels for each in Selector(k=4).select(store, query(50, ("boat",)))} == {("boat",)}
    assert counted.asked["queries"] == 2


def test_rows_that_are_known_are_not_read_again(store, counted):
    first = store.nearest([query(1)], 10)[0]
    assert counted.asked["rows"] == 12
    first[0].metadata.clear()
    again = store.nearest([query(1)], 10)[0]
    assert counted.asked["rows"] == 12
    assert again[0].example.labels


def test_a_write_through_another_store_of_the_folder_is_seen_by_the_index(tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(open_pool, "LARGEST", 0)
    rows = [example(number) for number in range(5)]

    def found(store: DemonstrationStore) -> dict:
        return {hit.id: hit.example for hit in store.nearest([query(99)], 20)[0]}

    with (
        DemonstrationStore.create(rows, tmp_path, encoder=encoder, progress=False) as one,
        DemonstrationStore.open(tmp_path, encoder=encoder) as other,
    ):
        assert len(found(one)) == 5
        renamed = rows[1].model_copy(update={"id": "new"})
        other.sync([renamed, *rows[2:], example(5)])  # of a row only the metadata change; one is gone, one is new
        assert found(one) == {each.content_id: each for each in [renamed, *rows[2:], example(5)]}
        assert found(one)[renamed.content_id].id == "new"


def test_rows_are_in_the_index_files_when_a_store_is_closed(tmp_path, encoder):
    """Rows that are not are linked again by every process that opens the folder, which takes as long as adding them."""
    DemonstrationStore.create(map(example, range(250)), tmp_path, encoder=encoder, progress=False).close()
    with closing(sqlite3.connect(tmp_path / "chroma.sqlite3")) as database:
        written = dict(
            database.execute(
                "SELECT scope, seq_id FROM max_seq_id JOIN segments ON segments.id = segment_id"
            ).fetchall()
        )
    assert written["VECTOR"] == written["METADATA"] > 0


def test_the_oldest_known_rows_are_forgotten(store, monkeypatch):
    monkeypatch.setattr(search, "_KEPT", 3)
    collection = Counting(store._pool.collections[Task.NER])
    known, ids = KnownRows(), collection.collection.get(include=[])["ids"]
    assert list(known.read(collection, ids[:5])) == ids[:5]
    assert collection.asked["rows"] == 5
    known.read(collection, ids[2:5])
    assert collection.asked["rows"] == 5
    assert "text" in known.read(collection, [ids[0], "unknown"])[ids[0]]
    assert collection.asked["rows"] == 7
    assert known.read(collection, ["unknown"]) == {}


def test_rows_of_the_querys_own_text_do_not_end_a_ranking(store):
    own = [example(7, (f"ship {number}",)) for number in range(30)]  # one text with many schemas
    store.add(own)
    vectors = store.encoder.encode_queries([own[0].query])
    collection = store._pool.collections[Task.NER]
    rankings = [None]
    hits = search_collection(collection, vectors, [text_hash(own[0].text)], 8, fetch=20, rankings=rankings)[0]
    assert len(hits) == 8
    assert not {each.content_id for each in own} & {hit.id for hit in hits}
    assert rankings[0].fetch > 20
