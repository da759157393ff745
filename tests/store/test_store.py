import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import chromadb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ruie_components import DemonstrationStore, Example, Query, StoreError
from ruie_components.encoders import load_encoder
from ruie_components.store import open_pool, rescue, writing
from ruie_components.store.search import search_collection


def ner(text: str, *names: str, label: str = "person") -> Example:
    entities = [{"text": n, "type": label, "start": text.index(n), "end": text.index(n) + len(n)} for n in names]
    return Example(task="NER", text=text, labels=["person", "place"], entities=entities)


def relation(text: str, head: str, tail: str) -> Example:
    spans = {
        role: {"text": span, "start": text.index(span), "end": text.index(span) + len(span)}
        for role, span in (("head", head), ("tail", tail))
    }
    return Example(task="RE", text=text, labels=["works for"], relations=[{"type": "works for", **spans}])


EXAMPLES = [
    ner("Ada slept in Rome.", "Ada"),
    ner("Bob met Ada in Oslo.", "Bob", "Ada"),
    ner("Cy met Bob.", "Cy", "Bob"),
    ner("nothing at all", label="person"),
    relation("Ada works for Acme.", "Ada", "Acme"),
]


def query(text: str, task: str = "NER") -> Query:
    return Query(task=task, text=text, labels=["person", "place"] if task == "NER" else ["works for"])


@pytest.fixture(params=["exact", "index"])
def store(encoder, request, monkeypatch):
    """A store in memory whose searches compare with every row, or go through the index as in a large pool."""
    if request.param == "index":
        monkeypatch.setattr(open_pool, "LARGEST", 0)
    with DemonstrationStore.create(EXAMPLES, encoder=encoder) as store:
        yield store


def test_the_nearest_come_best_first_and_of_the_querys_task(store):
    found = store.search(query("Bob met Ada in Rome."), k=2)
    asked = store.encoder.encode_queries([query("Bob met Ada in Rome.")])[0]
    scores = store.encoder.encode_examples(EXAMPLES[:4]) @ asked
    expected = sorted(zip(scores, EXAMPLES, strict=False), key=lambda pair: -pair[0])[:2]
    assert [each.example for each in found] == [example for _, example in expected]
    assert [each.score for each in found] == pytest.approx([score for score, _ in expected], abs=1e-6)
    assert all(each.example.task == "NER" for each in found)
    assert [each.example for each in store.search(query("who works?", "RE"))] == [EXAMPLES[4]]


def test_what_goes_in_comes_out_whole(encoder):
    full = EXAMPLES[1].model_copy(update={"id": "row-7", "dataset": "tiny", "language": "en"})
    with DemonstrationStore.create([full], encoder=encoder) as store:
        (found,) = store.search(query("anything"))
        assert found.example.to_row() == full.to_row()
        assert store.get([full.content_id, "unknown"]) == [full]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1).filter(str.strip))
def test_any_text_is_stored_and_searched(encoder, text):
    example = Example(task="ED", text=text, labels=["an, odd [label]", "b"])
    with DemonstrationStore.create([example], encoder=encoder) as store:
        found = store.search(Query(task="ED", text="something else entirely, twice", labels=["b"]))
        assert [each.example for each in found] == [example]
        assert store.search(example.query) == []


def test_adding_twice_changes_nothing(store):
    assert store.add(EXAMPLES) == 0
    assert store.add([*EXAMPLES, ner("Cy slept."), ner("Cy slept.")]) == 1
    assert store.count() == 6
    assert store.count("NER") == 5
    assert store.count("ED") == 0


@pytest.mark.parametrize("all_ids", [16, 0])
def test_rows_that_repeat_in_later_batches_are_written_once(encoder, monkeypatch, all_ids):
    """Whether all ids of the collection are read, or those of each batch are looked up."""
    monkeypatch.setattr(writing, "_BATCH", 4)
    monkeypatch.setattr(writing, "_ALL_IDS", all_ids)
    rows = [ner(f"Ada {number} slept.") for number in range(10)]
    with DemonstrationStore.create(rows[:3], encoder=encoder, progress=False) as store:
        assert store.add([*rows, *rows[::-1], *rows[2:5]]) == 7
        assert sorted(each.text for each in store.examples()) == sorted(each.text for each in rows)


def test_rows_may_be_deleted_while_they_are_read(encoder):
    pool = [labelled(f"Ada {number}", "person") for number in range(2500)]
    with DemonstrationStore.create(pool, encoder=encoder, progress=False) as store:
        seen = []
        for example in store.examples("NER"):
            seen.append(example)
            store.delete([example.content_id, seen[-1].content_id])
            if len(seen) == 3:
                store.delete([pool[2400].content_id])  # passed over, and it alone
                store.add([labelled("new", "person")])
        assert len(seen) == 2499
        assert [each.text for each in store.examples("NER")] == ["new"]


def test_all_that_is_stored_can_be_exported(store):
    assert {each.content_id for each in store.examples()} == {each.content_id for each in EXAMPLES}
    assert list(store.examples("RE")) == [EXAMPLES[4]]
    assert store.tasks == ("NER", "RE")
    assert store.labels("NER") == ("person", "place")


def labelled(text: str, *labels: str) -> Example:
    return Example(task="NER", text=text, labels=labels)


def test_the_labels_of_a_pool_are_kept_and_not_read_from_its_rows(tmp_path, encoder, monkeypatch):
    first, second, third = labelled("a", "x", "y"), labelled("b", "y", "\u00e9 [z], "), labelled("c", "w", "x")
    with DemonstrationStore.create([first, second], tmp_path, encoder=encoder) as store:
        assert store.labels("NER") == ("x", "y", "\u00e9 [z],")
        store.add([third])
        assert store.labels("NER") == ("x", "y", "\u00e9 [z],", "w")
    with DemonstrationStore.open(tmp_path, encoder=encoder) as store:
        monkeypatch.setattr(store, "examples", None)
        store.delete([second.content_id])
        assert store.labels("NER") == ("x", "y", "\u00e9 [z],", "w")


def test_the_labels_of_a_store_that_keeps_none_are_read_from_its_rows(tmp_path, encoder, make_encoder):
    DemonstrationStore.create([labelled("a", "x", "y")], tmp_path / "store", encoder=encoder).close()
    with chromadb.PersistentClient(str(tmp_path / "store")) as client:
        collection = client.get_collection("default.NER", embedding_function=None)
        old = {name: value for name, value in collection.metadata.items() if name != "ruie_labels"}
        assert len(old) == len(collection.metadata) - 1
        collection.modify(metadata=old)
    with DemonstrationStore.open(tmp_path / "store", encoder=encoder) as store:
        store.add([labelled("b", "z")])
        assert store.labels("NER") == ("x", "y", "z")
        store.reindex(make_encoder(tmp_path / "other", seed=1))
        assert store.labels("NER") == ("x", "y", "z")


def test_arguments_of_other_types_are_told_the_right_call(store, encoder):
    for wrong in (
        lambda: store.search("Ada"),
        lambda: store.search(EXAMPLES[0]),
        lambda: store.search_many(query("a")),
    ):
        with pytest.raises(TypeError, match="search takes a Query, and search_many a list of them"):
            wrong()
    for examples in ("file.jsonl", EXAMPLES[0]):
        with pytest.raises(TypeError, match=r"list of Examples: \[example\], or read_examples"):
            DemonstrationStore.create(examples, encoder=encoder)
    with pytest.raises(TypeError, match=r"expected an Example, got dict; use Example\.model_validate\(row\)"):
        store.add([EXAMPLES[0].to_row()])


def test_delete_tells_how_many_it_deleted(store):
    assert store.delete([EXAMPLES[0].content_id, EXAMPLES[4].content_id, "unknown"]) == 2
    assert store.count() == 3
    assert EXAMPLES[0] not in [each.example for each in store.search(query("Ada slept in Rome"))]
    with pytest.raises(StoreError, match=r"no RE examples to show; tasks it has: NER"):
        store.search(query("who works?", "RE"))


def test_the_querys_own_text_is_left_out_however_often_it_is_stored(encoder):
    own = [Example(task="NER", text="Ada met Bob.", labels=[f"label {number}"]) for number in range(40)]
    with DemonstrationStore.create([*own, *EXAMPLES[:3]], encoder=encoder) as store:
        found = store.search(Query(task="NER", text=" Ada  met Bob.", labels=["person"]), k=3)
        assert {each.example.text for each in found} == {each.text for each in EXAMPLES[:3]}


def test_k_of_zero_gives_none_a_large_one_all_and_a_negative_one_an_error(store):
    assert store.search(query("Bob"), 0) == []
    assert len(store.search(query("Bob"), 10_000)) == 4
    with pytest.raises(ValueError, match="k must be a whole number >= 0, got -1"):
        store.search(query("Bob"), -1)


def test_many_queries_give_what_each_gives_alone(store):
    asked = [query("Bob"), query("Acme", "RE"), query("Ada slept in Rome."), query("Bob")]
    assert store.search_many(asked, 2) == [store.search(each, 2) for each in asked]
    assert store.search_many([]) == []


def test_a_text_of_two_megabytes_and_one_without_known_words_find_something(store):
    assert len(store.search(query("Ada met Bob. " * 160_000), 2)) == 2
    found = store.search(query("北京"), 2)
    assert [each.score for each in found] == pytest.approx([0, 0])


def test_an_unknown_task_and_an_empty_pool_are_errors_that_say_what_there_is(store, encoder):
    with pytest.raises(StoreError, match=r"pool 'default' in memory has no ED examples to show; tasks it has: NER, RE"):
        store.search(Query(task="ED", text="a", labels=["b"]))
    with pytest.raises(StoreError, match="no ED examples"):
        store.labels("ED")
    with DemonstrationStore.create([], encoder=encoder) as empty:
        assert empty.count() == 0
        assert empty.search(query("Bob"), 0) == []
        with pytest.raises(StoreError, match="none, it is empty"):
            empty.search(query("Bob"))


def test_stores_in_memory_share_nothing(encoder):
    with (
        DemonstrationStore.create(EXAMPLES, encoder=encoder) as first,
        DemonstrationStore.create(EXAMPLES[:1], encoder=encoder) as second,
    ):
        assert (first.count(), second.count()) == (5, 1)
        assert chromadb.EphemeralClient().list_collections() == []
    with pytest.raises(StoreError, match="closed"):
        first.search(query("Bob"))
    with pytest.raises(StoreError, match="ends with its process"):
        DemonstrationStore.open()


def test_a_folder_keeps_its_pools(tmp_path, encoder):
    path = tmp_path / "a folder" / "store"
    DemonstrationStore.create(EXAMPLES, path, encoder=encoder, progress=False).close()
    DemonstrationStore.create(EXAMPLES[:1], path, pool="other.v2", encoder=encoder).close()
    with DemonstrationStore.open(path, encoder=encoder) as store:
        assert store.count() == 5
        assert len(store.search(query("Bob"))) == 4
        with DemonstrationStore.open(path, pool="other.v2", encoder=encoder) as other:
            assert other.count() == 1
        store.add([ner("Cy slept.")])  # the other store of this process is no other process
    with pytest.raises(StoreError, match=r"there is no pool 'third' in .*; it has: default, other\.v2"):
        DemonstrationStore.open(path, pool="third", encoder=encoder)


@pytest.mark.parametrize("pool", ["", "a b", ".a", "a.", "a..b", "ä", "a" * 502, "../up"])
def test_a_pool_name_that_chroma_refuses_is_refused_with_the_rule(pool, encoder):
    with pytest.raises(StoreError, match="letters, digits, single dots"):
        DemonstrationStore.create([], pool=pool, encoder=encoder)


def test_opening_what_is_not_there_makes_nothing(tmp_path, encoder):
    with pytest.raises(StoreError, match=r"there is no store in .*create"):
        DemonstrationStore.open(tmp_path / "none", encoder=encoder)
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        DemonstrationStore.create([], tmp_path / "file", encoder=encoder)
    with pytest.raises(StoreError, match="not both"):
        DemonstrationStore.open(tmp_path, client=chromadb.EphemeralClient(), encoder=encoder)


@pytest.mark.parametrize("path", ["", " "])
def test_an_empty_path_makes_no_store_in_the_folder_one_is_in(tmp_path, encoder, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="path is empty"):
        DemonstrationStore.create(EXAMPLES, path=path, encoder=encoder)
    assert list(tmp_path.iterdir()) == []


def test_a_servers_address_without_http_makes_no_folder(tmp_path, encoder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for address in ("localhost:8000", "10.0.0.1:80/"):
        for use in (DemonstrationStore.create, DemonstrationStore.open):
            with pytest.raises(StoreError, match=f"write http://{address}"):
                use(path=address, encoder=encoder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address", ["http://localhost:9/chroma", "http://ada:secret@localhost:9", "http://localhost:9?a=b"]
)
def test_what_a_servers_address_can_not_say_is_refused_and_not_left_out(encoder, address):
    with pytest.raises(StoreError, match="pass that as client") as caught:
        DemonstrationStore.open(address, encoder=encoder)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("change", ["weights", "prefix", "layout", "keywords"])
def test_a_store_of_another_encoder_is_refused_with_both_names(tmp_path, make_encoder, encoder, change):
    settings = {"prefix": {"query_prefix": "q: "}, "layout": {"layout": "block"}, "keywords": {"keywords": "none"}}
    other = make_encoder(tmp_path / "other", seed=int(change == "weights"), **settings.get(change, {}))
    path = tmp_path / "store"
    DemonstrationStore.create(EXAMPLES, path, encoder=encoder).close()
    for start in (
        DemonstrationStore.open,
        lambda *args, **options: DemonstrationStore.create(EXAMPLES, *args, **options),
    ):
        with pytest.raises(StoreError, match=r"built with encoder 'tiny'.*this is encoder 'other'"):
            start(path, encoder=other)
    with DemonstrationStore.open(path, encoder=encoder) as store:
        assert store.count() == 5


def test_the_same_encoder_by_another_name_is_the_same(tmp_path, make_encoder, encoder):
    path = tmp_path / "store"
    DemonstrationStore.create(EXAMPLES, path, encoder=encoder).close()
    with DemonstrationStore.open(path, encoder=make_encoder(tmp_path / "renamed")) as store:
        assert store.count() == 5


def test_collections_of_others_are_left_alone(tmp_path, encoder):
    with chromadb.PersistentClient(str(tmp_path)) as client:
        client.create_collection("theirs.NER", embedding_function=None)
        client.create_collection(
            "flat.NER", embedding_function=None, metadata={"ruie_fingerprint": encoder.fingerprint}
        )
    with pytest.raises(StoreError, match=r"'theirs\.NER' .* was not created by ruie-components"):
        DemonstrationStore.create(EXAMPLES, tmp_path, pool="theirs", encoder=encoder)
    with pytest.raises(StoreError, match=r"measures distance by 'l2'.*needs 'cosine'"):
        DemonstrationStore.create(EXAMPLES, tmp_path, pool="flat", encoder=encoder)


@pytest.fixture(scope="module")
def built(tmp_path_factory, encoder):
    """A store whose index Chroma has written to disk: that takes a thousand rows."""
    path = tmp_path_factory.mktemp("built") / "store"
    examples = [ner(f"Ada {number} slept.", "Ada") for number in range(1050)]
    DemonstrationStore.create(examples, path, encoder=encoder, progress=False).close()
    return path


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE = {
    "database cut": lambda database, index: cut(database),
    "database overwritten": lambda database, index: database.write_bytes(os.urandom(5000)),
    "index gone": lambda database, index: shutil.rmtree(index),
    "vectors cut": lambda database, index: cut(index / "data_level0.bin"),
    "lengths cut": lambda database, index: cut(index / "length.bin"),
    "header cut": lambda database, index: cut(index / "header.bin"),
    "labels gone": lambda database, index: (index / "index_metadata.pickle").unlink(),
    "labels cut": lambda database, index: cut(index / "index_metadata.pickle"),
}


@pytest.fixture
def damaged(tmp_path, built):
    """A copy of the built store, damaged by name."""

    def damage(name: str):
        path = tmp_path / "store"
        shutil.copytree(built, path)
        (header,) = path.glob("*/header.bin")
        DAMAGE[name](path / "chroma.sqlite3", header.parent)
        return path

    return damage


@pytest.mark.parametrize("name", [name for name in DAMAGE if "database" in name])
def test_a_damaged_database_is_an_error_and_nothing_is_deleted(damaged, encoder, name):
    path = damaged(name)
    before = {each: each.stat().st_size for each in path.rglob("*") if each.is_file() and ".ruie" not in each.parts}
    with (
        pytest.raises(StoreError, match=r"Nothing was (changed|deleted)"),
        DemonstrationStore.open(path, encoder=encoder) as store,
    ):
        store.search(query("Ada slept."))
    assert {each: each.stat().st_size for each in before} == before


@pytest.mark.parametrize("name", [name for name in DAMAGE if "database" not in name])
def test_a_damaged_index_is_rebuilt_from_the_rows(damaged, encoder, caplog, name):
    path = damaged(name)
    assert len({each.content_id for each in rescue(path)}) == 1050
    with pytest.raises(StoreError, match=r"no pool 'other' in .*; it has: default"):
        list(rescue(path, "other"))
    with DemonstrationStore.open(path, encoder=encoder) as store:
        assert store.count() == 1050
        found = store.nearest([query("Ada slept.")], 1050)[0]
        assert len({hit.id for hit in found}) == 1050
        assert store.index_check.recall == 1
    assert "was damaged" in caplog.text
    assert "rebuilt from the 1050 rows" in caplog.text
    caplog.clear()
    with DemonstrationStore.open(path, encoder=encoder) as store:
        assert store.add([ner("Cy slept.")]) == 1
    assert caplog.text == ""


def test_the_examples_of_one_pool_alone_are_rescued(tmp_path, encoder):
    DemonstrationStore.create(EXAMPLES, tmp_path, encoder=encoder).close()
    for pool in ("default.v2", "default-2"):
        DemonstrationStore.create([ner("Eve slept.", "Eve")], tmp_path, pool=pool, encoder=encoder).close()
    with chromadb.PersistentClient(str(tmp_path)) as client:
        copy = client.create_collection("default.NER.next", embedding_function=None)
        copy.add(ids=["half"], embeddings=[[1.0]], metadatas=[{"example": EXAMPLES[0].model_dump_json()}])
    assert [each.content_id for each in rescue(tmp_path)] == [each.content_id for each in EXAMPLES]
    with chromadb.PersistentClient(str(tmp_path)) as client:  # as a kill may leave it once all copies are whole
        client.delete_collection("default.NER")
    assert list(rescue(tmp_path)) == [EXAMPLES[0], EXAMPLES[4]]
    with pytest.raises(StoreError, match=r"no pool 'NER' in .*; it has: default, default-2, default.v2"):
        list(rescue(tmp_path, "NER"))


def test_a_row_without_an_example_is_named(tmp_path, encoder):
    DemonstrationStore.create(EXAMPLES[:1], tmp_path, encoder=encoder).close()
    with closing(sqlite3.connect(tmp_path / "chroma.sqlite3")) as database, database:
        database.execute("UPDATE embedding_metadata SET string_value = '{}' WHERE key = 'example'")
        database.execute("DELETE FROM embeddings_queue")
    with (
        DemonstrationStore.open(tmp_path, encoder=encoder) as store,
        pytest.raises(StoreError, match=rf"row {EXAMPLES[0].content_id} .* no readable example"),
    ):
        list(store.examples())


def test_a_failed_write_keeps_what_was_written_before(tmp_path, encoder):
    def broken():
        yield from (ner(f"Ada {number} slept.") for number in range(2200))
        raise RuntimeError("the reader failed")

    with pytest.raises(RuntimeError, match="the reader failed"):
        DemonstrationStore.create(broken(), tmp_path, encoder=encoder, progress=False)
    with DemonstrationStore.open(tmp_path, encoder=encoder) as store:
        assert store.count() == 2000


class LosesRows:
    """A collection whose approximate index gives fewer rows than there are, as Chroma's does now and then."""

    def __init__(self, collection):
        self.collection = collection
        self.name = collection.name
        self.count, self.get = collection.count, collection.get

    def query(self, *, n_results, **options):
        return self.collection.query(n_results=min(n_results, 2), **options)


def test_rows_that_the_index_loses_are_found_by_comparing_with_all(store):
    collection = store._pool.collections["NER"]
    asked = store.encoder.encode_queries([query("Bob met Ada in Rome.")])
    whole = search_collection(collection, asked, [""], 4)[0]
    repaired = search_collection(LosesRows(collection), asked, [""], 4)[0]
    assert [each.id for each in repaired] == [each.id for each in whole]
    assert [each.score for each in repaired] == pytest.approx([each.score for each in whole], abs=1e-6)


def test_an_encoder_may_be_given_by_its_folder_or_as_an_object(encoder_folder):
    for given_as in (encoder_folder, str(encoder_folder), load_encoder(encoder_folder)):
        with DemonstrationStore.create(EXAMPLES[:1], encoder=given_as) as store:
            assert store.encoder.name == "tiny"


def test_a_write_that_a_kill_left_unfinished_is_taken_back(tmp_path, encoder):
    path = tmp_path / "store"
    DemonstrationStore.create(EXAMPLES, path, encoder=encoder).close()
    killed = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('PRAGMA cache_size = 1')\n"  # so that pages reach the file before the end
        "database.execute('BEGIN')\n"
        "database.execute('DELETE FROM embedding_metadata')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", killed, str(path / "chroma.sqlite3")], check=False)
    assert (path / "chroma.sqlite3-journal").exists()
    with DemonstrationStore.open(path, encoder=encoder) as store:
        assert sorted(each.content_id for each in store.examples()) == sorted(each.content_id for each in EXAMPLES)
