"""A real Chroma server, started by the test."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import chromadb
import httpx
import pytest

from ruie_components import DemonstrationStore, Example, Query, StoreError

EXAMPLES = [Example(task="NER", text=f"Ada {number} slept in Rome.", labels=["person"]) for number in range(30)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    command = shutil.which("chroma", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    process = subprocess.Popen(
        [command, "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            httpx.get(f"{url}/api/v2/heartbeat", timeout=1).raise_for_status()
            break
        except httpx.HTTPError:
            assert process.poll() is None, "the server died"
            time.sleep(0.1)
    yield url
    process.terminate()
    process.wait(timeout=30)


def query(text: str) -> Query:
    return Query(task="NER", text=text, labels=["person"])


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_does_not_hide_a_server_on_this_machine(server, encoder, monkeypatch, variable):
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nobody listens there
    pool = f"behind-{variable.lower()}-{variable.isupper()}"
    with DemonstrationStore.create(EXAMPLES[:3], server, pool=pool, encoder=encoder, progress=False) as store:
        assert len(store.search(query("Bob met Ada."), 2)) == 2


def test_a_store_on_a_server_does_what_a_local_one_does(server, encoder):
    with (
        DemonstrationStore.create(EXAMPLES, server, encoder=encoder, progress=False) as remote,
        DemonstrationStore.create(EXAMPLES, encoder=encoder, progress=False) as local,
    ):
        asked = [query("Ada 7 slept in Rome."), query("Bob met Ada.")]
        for ours, theirs in zip(remote.search_many(asked, 5), local.search_many(asked, 5), strict=True):
            assert [each.example for each in ours] == [each.example for each in theirs]
            assert [each.score for each in ours] == pytest.approx([each.score for each in theirs], abs=1e-5)
        assert remote.add(EXAMPLES[:3]) == 0
        assert remote.count() == 30
        assert len(remote.search(asked[0], 100)) == 29
        assert remote.delete([EXAMPLES[0].content_id, "unknown"]) == 1
        assert remote.get([EXAMPLES[1].content_id]) == [EXAMPLES[1]]


def test_a_row_that_another_client_replaces_is_another_state(server, encoder):
    with (
        DemonstrationStore.create(EXAMPLES[:5], server, pool="state", encoder=encoder, progress=False) as store,
        DemonstrationStore.create(EXAMPLES[:5], encoder=encoder, progress=False) as local,
        DemonstrationStore.open(server, pool="state", encoder=encoder) as other,
    ):
        before = store.row_state("NER")
        assert before == local.row_state("NER")
        assert (before[0], store.row_state("RE")[0]) == (5, 0)
        other.delete([EXAMPLES[0].content_id])
        other.add([EXAMPLES[5]])
        after = store.row_state("NER")
        assert (after[0], after[1] != before[1]) == (5, True)
        other.add([EXAMPLES[0]])
        other.delete([EXAMPLES[5].content_id])
        assert store.row_state("NER") == before


def test_two_clients_write_to_one_server(server, encoder):
    host, port = server.removeprefix("http://").split(":")
    with (
        chromadb.HttpClient(host, int(port)) as client,
        DemonstrationStore.create(EXAMPLES[:10], server, pool="shared", encoder=encoder) as first,
        DemonstrationStore.open(client=client, pool="shared", encoder=encoder) as second,
    ):
        second.add(EXAMPLES[10:20])
        first.add(EXAMPLES[20:])
        assert first.count() == second.count() == 30
        labels = ["person", "by first", "by second"]
        first.add([Example(task="NER", text="Bob slept.", labels=labels[:2])])
        second.add([Example(task="NER", text="Cy slept.", labels=labels[2:])])
        assert first.labels("NER") == second.labels("NER") == tuple(labels)
        second.close()  # the client is the user's, so it stays open
        assert len(client.list_collections()) >= 1
        for part in (client, client._admin_client):
            part._server._session.close()  # which Chroma forgets


WRITE = """
import sys
from ruie_components import DemonstrationStore, Example
with DemonstrationStore.open(sys.argv[1], pool="written", encoder=sys.argv[2]) as store:
    store.delete(sys.argv[3:])
    store.add([Example(task="NER", text="Cy slept.", labels=["person"])])
"""


def test_a_write_of_another_process_is_seen_by_the_next_search(server, encoder, encoder_folder):
    with DemonstrationStore.create(EXAMPLES[:5], server, pool="written", encoder=encoder, progress=False) as store:
        before = {hit.id for hit in store.nearest([query("Bob slept.")], 10)[0]}
        command = [sys.executable, "-c", WRITE, server, str(encoder_folder), EXAMPLES[0].content_id]
        subprocess.run(command, check=True, timeout=100)
        after = store.nearest([query("Bob slept.")], 10)[0]  # as many rows as before
        assert before - {hit.id for hit in after} == {EXAMPLES[0].content_id}
        assert [hit.text for hit in after if hit.id not in before] == ["Cy slept."]


def test_a_server_without_the_pool_says_which_it_has(server, encoder):
    DemonstrationStore.create(EXAMPLES[:1], server, pool="known", encoder=encoder).close()
    with pytest.raises(StoreError, match=r"no pool 'unknown' in http.*known"):
        DemonstrationStore.open(server, pool="unknown", encoder=encoder)


def test_no_server_is_an_error_that_names_chroma_run(encoder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(StoreError, match=rf"no Chroma server answers at http://127\.0\.0\.1:{port}.*chroma run"):
        DemonstrationStore.open(f"http://127.0.0.1:{port}", encoder=encoder)
