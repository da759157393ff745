"""Another encoder for a pool: what a kill leaves behind, and where the encoder is found again."""

import shutil
import subprocess
import sys

import chromadb
import numpy as np
import pytest

from ruie_components import DemonstrationStore, Example, Query, StoreError
from ruie_components.encoders import load_encoder
from ruie_components.store import reindexing
from ruie_components.store.tuned import TunedSettings
from ruie_components.store.writing import writing

NAMES = ["Ada", "Bob", "Cy"]
PLACES = ["Rome", "Oslo", "Acme"]


def example(name: str, place: str, task: str = "NER") -> Example:
    text = f"{name} slept in {place}."
    spans = [{"text": word, "start": text.index(word), "end": text.index(word) + len(word)} for word in (name, place)]
    if task == "NER":
        return Example(task="NER", text=text, labels=["person"], entities=[{"type": "person", **spans[0]}])
    relation = {"type": "in", "head": spans[0], "tail": spans[1]}
    return Example(task="RE", text=text, labels=["in"], relations=[relation])


EXAMPLES = [example(name, place, task) for task in ("NER", "RE") for name in NAMES for place in PLACES]
QUERY = Query(task="NER", text="Bob met Cy.", labels=["person"])


@pytest.fixture(scope="module")
def other_folder(make_encoder, tmp_path_factory):
    """A second encoder, of another dimension."""
    return make_encoder(tmp_path_factory.mktemp("encoders") / "other", seed=1, dimension=16)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A store in a folder, with the embedded encoder."""
    path = tmp_path_factory.mktemp("stores") / "built"
    with DemonstrationStore.create(EXAMPLES, path, progress=False):
        pass
    return path


def vectors_are_of(store: DemonstrationStore, encoder) -> bool:
    """Whether every row's vector is what the encoder gives for it, and no row is lacking."""
    found = {near.id: near.vector for near in store.nearest([QUERY], len(EXAMPLES), vectors=True)[0]}
    mine = [each for each in EXAMPLES if each.task == "NER"]
    assert found.keys() == {each.content_id for each in mine}
    expected = encoder.encode_examples(mine)
    return bool(np.allclose([found[each.content_id] for each in mine], expected, atol=1e-5))


def test_a_folder_keeps_the_new_encoder_and_opens_without_naming_it(built, other_folder, tmp_path):
    path, source = tmp_path / "store", tmp_path / "source"
    shutil.copytree(built, path)
    shutil.copytree(other_folder, source)
    other = load_encoder(source)
    with DemonstrationStore.open(path) as store:
        embedded = store.encoder
        before = store.search(QUERY, 9)
        store.reindex(source)
        assert store.encoder.fingerprint == other.fingerprint
        assert vectors_are_of(store, other)
        assert store.search(QUERY, 9) != before
        store.add([example("Ada", "Ada")])
    shutil.rmtree(source)
    with DemonstrationStore.open(path) as store:
        assert store.encoder.fingerprint == other.fingerprint
        assert store.count() == len(EXAMPLES) + 1
        store.delete([example("Ada", "Ada").content_id])
        assert vectors_are_of(store, store.encoder)
    with pytest.raises(StoreError, match="embedded"):
        DemonstrationStore.open(path, encoder=embedded)
    with DemonstrationStore.open(path) as store:  # and back again
        store.reindex(embedded)
        assert vectors_are_of(store, embedded)
    assert [folder.name for folder in (path / ".ruie" / "encoders").iterdir()] == [embedded.fingerprint]


def test_other_pools_of_the_folder_keep_their_encoder(built, other_folder, tmp_path):
    path = tmp_path / "store"
    shutil.copytree(built, path)
    with DemonstrationStore.create(EXAMPLES[:2], path, pool="second", progress=False) as second:
        expected = second.search(QUERY, 2)
    with DemonstrationStore.open(path) as store:
        store.reindex(other_folder)
    with DemonstrationStore.open(path, pool="second") as second:
        assert second.encoder.name == "embedded"
        assert second.search(QUERY, 2) == expected


def test_in_memory_and_by_a_client_the_encoder_is_replaced_for_the_object(encoder, other_folder):
    client = chromadb.EphemeralClient()
    with DemonstrationStore.create(EXAMPLES, pool="mine", encoder=encoder, client=client, progress=False) as store:
        store.reindex(other_folder)
        assert vectors_are_of(store, load_encoder(other_folder))
    with DemonstrationStore.open(pool="mine", encoder=other_folder, client=client) as store:
        assert store.count() == len(EXAMPLES)
    assert sorted(found.name for found in client.list_collections() if found.name.startswith("mine.")) == [
        "mine.NER",
        "mine.RE",
    ]
    client.delete_collection("mine.NER")
    client.delete_collection("mine.RE")


# Forks before anything of Chroma runs, since its threads would not survive it; each child dies by SIGKILL just before
# its n-th write to the database. A child that gets through says so by its exit status.
KILLS = """
import os, signal, sys
import chromadb
from chromadb.api.models.Collection import Collection
from chromadb.api.rust import RustBindingsAPI
from ruie_components import DemonstrationStore

folder, encoder, most = sys.argv[1], sys.argv[2], int(sys.argv[3])

def die_at(moment):
    left = [moment]
    def counted(function):
        def call(*args, **options):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return function(*args, **options)
        return call
    for name in ("_upsert", "_modify", "delete_collection", "create_collection"):
        setattr(RustBindingsAPI, name, counted(getattr(RustBindingsAPI, name)))

for moment in range(most):
    child = os.fork()
    if child == 0:
        store = DemonstrationStore.open(f"{folder}/{moment}")
        die_at(moment)
        store.reindex(encoder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(moment, "killed" if os.WIFSIGNALED(status) else "done", flush=True)
"""


def test_a_kill_at_any_write_loses_nothing(built, other_folder, tmp_path):
    moments = 11
    for moment in range(moments):
        shutil.copytree(built, tmp_path / str(moment))
    command = [sys.executable, "-W", "ignore", "-c", KILLS, str(tmp_path), str(other_folder), str(moments)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=250, check=True)
    ends = [line.split()[1] for line in run.stdout.splitlines()]
    assert ends == ["killed"] * (moments - 1) + ["done"], run.stderr
    other, embedded = load_encoder(other_folder), load_encoder()
    served = []
    for moment in range(moments):
        with DemonstrationStore.open(tmp_path / str(moment)) as store:
            served.append(store.encoder.fingerprint == other.fingerprint)
            assert vectors_are_of(store, other if served[-1] else embedded)
            assert set(store.get(each.content_id for each in EXAMPLES)) == set(EXAMPLES)
            store.reindex(other_folder)
            assert vectors_are_of(store, other)
            names = {found.name for found in store._pool.connection.client.list_collections()}
            assert names == {"default.NER", "default.RE"}
    # the old one serves until all copies are whole, the new one from then on
    assert served == sorted(served)
    assert not served[4]
    assert served[5]


def test_a_copy_that_was_begun_is_brought_up_to_date(built, other_folder, tmp_path, monkeypatch):
    path = tmp_path / "store"
    shutil.copytree(built, path)
    other = load_encoder(other_folder)
    with DemonstrationStore.open(path) as store:
        broken = load_encoder(other_folder)
        calls = []

        def fails_at_the_second_task(examples):
            calls.append(examples)
            if len(calls) > 1:
                raise KeyboardInterrupt
            return other.encode_examples(examples)

        monkeypatch.setattr(broken, "encode_examples", fails_at_the_second_task)
        with pytest.raises(KeyboardInterrupt):
            store.reindex(broken)
        assert store.encoder.name == "embedded"
        gone, new = EXAMPLES[0], example("Bob", "Bob").model_copy(update={"labels": ("person", "late")})
        kept = [each for each in EXAMPLES if each is not gone]
        named = kept[0].model_copy(update={"id": "row 7", "metadata": {"page": 3}})
        store.sync([named, *kept[1:], new])
        store.reindex(other)
        assert set(store.examples()) == {named, *kept[1:], new}
        (shown,) = store.get([named.content_id])
        assert (shown.id, shown.metadata) == ("row 7", {"page": 3})
        monkeypatch.setattr(store, "examples", None)  # labels are kept, and go over to the copy
        assert store.labels("NER") == ("person", "late")
        assert store.labels("RE") == ("in",)


def test_many_queries_with_many_rows_each_stay_below_sqlites_limit(encoder):
    queries = [QUERY.model_copy(update={"text": f"Ada met number {number}."}) for number in range(300)]
    pool = [example(f"Ada {number}", "Rome") for number in range(150)]
    with DemonstrationStore.create(pool, encoder=encoder, progress=False) as store:
        found = store.nearest(queries, 140)  # 43,200 rows
    assert {len(near) for near in found} == {140}


def test_a_rebuilt_index_keeps_what_the_pool_knows(tmp_path, encoder):
    settings = TunedSettings(k=3)
    with DemonstrationStore.create(EXAMPLES, tmp_path, encoder=encoder, progress=False) as store:
        store.set_tuned("NER", settings)
        store.describe_labels({"person": "a human being"})
        pool = store._pool
        with writing(pool, "testing"):
            reindexing.rebuild(pool.connection, pool.name, pool.encoder, {"default.NER"})
            pool.load_collections()
        assert store.tuned("NER") == settings
        assert store.label_descriptions() == {"person": "a human being"}
        assert store.count() == len(EXAMPLES)


def test_descriptions_that_changed_after_an_interruption_count(tmp_path, encoder, other_folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with DemonstrationStore.create(EXAMPLES, tmp_path, encoder=encoder, progress=False) as store:
        store.describe_labels({"person": "old"})
        with monkeypatch.context() as patch:
            patch.setattr(reindexing, "_embed", interrupted)
            with pytest.raises(KeyboardInterrupt):
                store.reindex(other_folder)
        store.describe_labels({"person": "new"})
        store.reindex(other_folder)
        assert store.label_descriptions() == {"person": "new"}
