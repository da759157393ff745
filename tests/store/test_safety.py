"""A store never runs code from data, never reads outside itself, and never talks to anyone."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ruie_components import DemonstrationStore, Example, StoreError

EXAMPLES = [Example(task="NER", text=f"Ada {number} slept in Rome.", labels=["person"]) for number in range(20)]


@pytest.fixture
def folder(tmp_path, encoder):
    """A store in a folder."""
    path = tmp_path / "store"
    DemonstrationStore.create(EXAMPLES, path, encoder=encoder).close()
    return path


def change(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "chroma.sqlite3")) as database, database:
        database.execute(statement, values)


def schema(folder: Path) -> dict:
    with closing(sqlite3.connect(folder / "chroma.sqlite3")) as database:
        (text,) = database.execute("SELECT schema_str FROM collections").fetchone()
    return json.loads(text)


@pytest.fixture
def hostile(tmp_path):
    """The configuration of a function that Chroma builds from a folder with code, and the file that the code writes."""
    code, mark = tmp_path / "hostile", tmp_path / "ran"
    code.mkdir()
    (code / "modules.json").write_text('[{"idx": 0, "name": "0", "path": "", "type": "hostile.Model"}]')
    (code / "config.json").write_text("{}")
    (code / "hostile.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Model: pass\n")
    config = {"model_name": str(code), "device": "cpu", "normalize_embeddings": False}
    function = {"type": "known", "name": "sentence_transformer"}
    return {**function, "config": {**config, "kwargs": {"trust_remote_code": True}}}, mark


def in_default(schema: dict, function: dict) -> None:
    schema["defaults"]["float_list"]["vector_index"]["config"]["embedding_function"] = function


def in_key(schema: dict, function: dict) -> None:
    schema["keys"]["#embedding"]["float_list"]["vector_index"]["config"]["embedding_function"] = function


def in_sparse_default(schema: dict, function: dict) -> None:
    schema["defaults"]["sparse_vector"]["sparse_vector_index"]["config"]["embedding_function"] = function


@pytest.mark.parametrize("where", [in_default, in_key, in_sparse_default, None])
def test_a_stored_embedding_function_is_refused_and_never_built(folder, encoder, hostile, where):
    function, mark = hostile
    if where:
        changed = schema(folder)
        where(changed, function)
        change(folder, "UPDATE collections SET schema_str = ?", json.dumps(changed))
    else:
        configuration = {"hnsw": {"space": "cosine"}, "embedding_function": function}
        change(folder, "UPDATE collections SET schema_str = NULL, config_json_str = ?", json.dumps(configuration))
    for use in (
        lambda: DemonstrationStore.open(folder, encoder=encoder),
        lambda: DemonstrationStore.create([*EXAMPLES, Example(task="NER", text="new", labels=["a"])], folder),
        lambda: DemonstrationStore.open(folder),
    ):
        with pytest.raises(StoreError, match=r"names the embedding function 'sentence_transformer'.*trust"):
            use()
    assert not mark.exists()


def test_a_collection_that_another_program_made_with_chromas_default_function_opens(folder, encoder):
    changed = schema(folder)
    in_key(changed, {"type": "known", "name": "default", "config": {}})
    change(folder, "UPDATE collections SET schema_str = ?", json.dumps(changed))
    with DemonstrationStore.open(folder, encoder=encoder) as store:
        assert store.add([Example(task="NER", text="new", labels=["a"])]) == 1


def test_a_new_collection_holds_no_embedding_function(folder):
    changed = json.dumps(schema(folder))
    assert '"type": "known"' not in changed
    assert '"name"' not in changed


@pytest.mark.parametrize("absolute", [True, False])
def test_a_fingerprint_that_is_a_path_is_refused_before_anything_is_opened(
    folder, encoder, make_encoder, tmp_path, absolute
):
    outside = make_encoder(tmp_path / "outside")
    (folder / ".ruie" / "encoders").mkdir()
    change(
        folder,
        "UPDATE collection_metadata SET str_value = ? WHERE key = 'ruie_fingerprint'",
        str(outside) if absolute else "../../../outside",
    )
    with pytest.raises(StoreError, match=r"as the fingerprint of its encoder.*Nothing was opened"):
        DemonstrationStore.open(folder)


@pytest.mark.parametrize("link", ["folder", "file", "home"])
def test_a_kept_encoder_that_links_out_of_the_store_is_refused(folder, encoder, make_encoder, tmp_path, link):
    outside = make_encoder(tmp_path / "outside")
    home = folder / ".ruie" / "encoders"
    if link == "home":
        (tmp_path / "elsewhere").mkdir()
        home.symlink_to(tmp_path / "elsewhere")
        make_encoder(home / encoder.fingerprint)
    elif link == "folder":
        home.mkdir()
        (home / encoder.fingerprint).symlink_to(outside)
    else:
        home.mkdir()
        inside = make_encoder(home / encoder.fingerprint)
        (inside / "encoder.onnx").unlink()
        (inside / "encoder.onnx").symlink_to(outside / "encoder.onnx")
    with pytest.raises(StoreError, match=r"lies outside the store.*Nothing was opened"):
        DemonstrationStore.open(folder)


REDIRECTS = {
    "CHROMA_API_IMPL": "chromadb.api.fastapi.FastAPI",
    "CHROMA_SERVER_HOST": "127.0.0.1",
    "CHROMA_SERVER_HTTP_PORT": "9",
    "IS_PERSISTENT": "TRUE",
    "PERSIST_DIRECTORY": "elsewhere",
    "ALLOW_RESET": "TRUE",
    "CHROMA_OTEL_COLLECTION_ENDPOINT": "http://127.0.0.1:9",
    "CHROMA_OTEL_GRANULARITY": "all",
}


@pytest.mark.parametrize("dotenv", [True, False])
def test_neither_the_environment_nor_a_dotenv_file_moves_a_store(tmp_path, encoder_folder, dotenv):
    work = tmp_path / "work"
    work.mkdir()
    if dotenv:
        (work / ".env").write_text("\n".join(f"{name}={value}" for name, value in REDIRECTS.items()))
    code = f"""
import sys
from ruie_components import DemonstrationStore, Example
examples = [Example(task="NER", text=f"Ada {{n}} slept.", labels=["person"]) for n in range(3)]
with DemonstrationStore.create(examples, "store", encoder={str(encoder_folder)!r}) as store:
    print(store.count())
with DemonstrationStore.create(examples, encoder={str(encoder_folder)!r}) as memory:
    print(memory.count())
"""
    environment = os.environ | ({} if dotenv else REDIRECTS)
    run = subprocess.run([sys.executable, "-c", code], cwd=work, env=environment, capture_output=True, text=True)
    assert run.stdout == "3\n3\n", run.stderr
    assert sorted(path.name for path in work.iterdir() if path.name != ".env") == ["store"]
    assert (work / "store" / "chroma.sqlite3").is_file()


def test_settings_that_chroma_cannot_read_are_an_error_in_one_line(tmp_path, encoder_folder):
    code = f"""
from ruie_components import DemonstrationStore, StoreError
try:
    DemonstrationStore.create([], encoder={str(encoder_folder)!r})
except StoreError as error:
    print(error)
"""
    environment = os.environ | {"IS_PERSISTENT": "perhaps"}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "can't read the settings in the environment" in run.stdout, run.stderr
    assert run.stdout.count("\n") == 1


def test_an_old_sqlite_is_an_error_in_one_line(tmp_path, encoder_folder):
    code = f"""
import sqlite3
sqlite3.sqlite_version_info = (3, 31, 1)
sqlite3.sqlite_version = "3.31.1"
from ruie_components import DemonstrationStore, StoreError
try:
    DemonstrationStore.create([], encoder={str(encoder_folder)!r})
except StoreError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "needs SQLite 3.35 or newer, and this Python has 3.31.1" in run.stdout, run.stderr
    assert run.stdout.count("\n") == 1


WATCHED = """
import sys
seen = []
def hook(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        seen.append(str(arguments[0]))
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        seen.append(str(arguments[1][0]))
sys.addaudithook(hook)
from ruie_components import DemonstrationStore, Example, Query
folder, encoder = sys.argv[1:]
examples = [Example(task="NER", text=f"Ada {n} slept.", labels=["person"]) for n in range(5)]
for path in (None, folder):
    with DemonstrationStore.create(examples, path, encoder=encoder or None) as store:
        store.add([Example(task="NER", text="Cy slept.", labels=["person"])])
        assert len(store.search(Query(task="NER", text="Bob slept.", labels=["person"]), 8)) == 6
        store.delete([examples[0].content_id])
DemonstrationStore.open(folder, encoder=encoder or None).close()
print(seen)
import socket
try:
    socket.getaddrinfo("nowhere.invalid", 80)  # the hook does see what it is meant to see
except OSError:
    pass
print(seen)
"""


@pytest.mark.parametrize("own", [True, False], ids=["exported", "embedded"])
def test_no_address_is_looked_up(tmp_path, encoder_folder, own):
    command = [sys.executable, "-c", WATCHED, str(tmp_path / "store"), str(encoder_folder) if own else ""]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.stdout == "[]\n['nowhere.invalid']\n", run.stderr


BESIDE = """
import sys
import chromadb
from chromadb.config import Settings
from ruie_components import DemonstrationStore, Example, Query
path, encoder, first = sys.argv[1:]
examples = [Example(task="NER", text=f"Ada {n} slept.", labels=["person"]) for n in range(20)]
query = Query(task="NER", text="Bob slept.", labels=["person"])
settings = dict(anonymized_telemetry=False, allow_reset=True)
makers = {
    "ours": lambda: [DemonstrationStore.create(examples, where, encoder=encoder) for where in (None, path)],
    "theirs": lambda: [
        chromadb.EphemeralClient(Settings(**settings)), chromadb.PersistentClient(path, Settings(**settings))
    ],
}
made = {first: makers[first]()}
for name in makers:
    made.setdefault(name, None)
    made[name] = made[name] or makers[name]()
print([len(store.search(query, 8)) for store in made["ours"]], [c.name for c in made["theirs"][0].list_collections()])
print([collection.name for collection in made["theirs"][1].list_collections()])
"""


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_clients_of_others_with_other_settings_live_beside_a_store(tmp_path, encoder_folder, first):
    command = [sys.executable, "-c", BESIDE, str(tmp_path), str(encoder_folder), first]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.stdout == "[8, 8] []\n['default.NER']\n", run.stderr


READ_ONLY = """
import sys
from ruie_components import DemonstrationStore, Example, Query, StoreError
path, encoder = sys.argv[1:]
with DemonstrationStore.open(path, encoder=encoder) as store:
    found = store.search(Query(task="NER", text="Bob slept.", labels=["person"]), 8)
    print(store.count(), len(found), len(list(store.examples())))
    try:
        store.add([Example(task="NER", text="new", labels=["person"])])
    except StoreError as error:
        print(error)
try:
    DemonstrationStore.create([], path + "/new/store", encoder=encoder)
except StoreError as error:
    print(error)
"""


def test_a_read_only_folder_is_read_without_a_write(folder, encoder_folder):
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}
    command = [sys.executable, "-c", READ_ONLY, str(folder), str(encoder_folder)]
    if os.geteuid() == 0:  # what stops any other user does not stop root, unless it gives that right up
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    try:
        run = subprocess.run(command, capture_output=True, text=True)
    finally:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    lines = run.stdout.splitlines()
    assert lines[0] == "20 8 20", run.stderr
    assert "is read-only" in lines[1]
    assert "can't be used as a store: Permission denied" in lines[2]
    assert {path: path.stat().st_mtime_ns for path in before} == before
