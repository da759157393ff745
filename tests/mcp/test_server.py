"""The MCP server, by the SDK's own client: over stdio with the real command, and over real HTTP."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

pytest.importorskip("mcp")

import httpx2
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from ruie_components import DemonstrationStore, Extractor
from ruie_components.errors import RuieError
from ruie_components.hosts import is_loopback
from ruie_components.mcp import create_server, http_app, serve_http
from ruie_components.starter import starter_examples
from ruie_components.tokenization import tokenize

TEXT = "Fly from Oslo to Lima with Aurora Air."
COMMAND = [sys.executable, "-c", "from ruie_components.cli import main; main()", "serve", "--mcp"]
TOKEN = "a-token-of-many-characters"
ADA = {
    "task": "NER",
    "text": "Ada slept.",
    "schema": ["person"],
    "entities": [{"type": "person", "text": "Ada", "start": 0, "end": 3}],
}


@pytest.fixture
def extractor():
    with DemonstrationStore.create(starter_examples("NER"), progress=False) as store:
        yield Extractor(store, "baseline", k=4, labels=["city", "airline", "hotel"])


@contextmanager
def served(app):
    """The application on a free port of loopback; its address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        server.should_exit = True
        thread.join(10)


async def test_the_tools_over_http(extractor):
    with served(http_app(create_server(extractor))) as address:
        async with Client(address) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(tools) == {"retrieve", "extract", "add_example", "explain"}
            assert tools["extract"].annotations.read_only_hint
            assert all(tool.description and tool.output_schema for tool in tools.values())

            shown = (await client.call_tool("retrieve", {"text": TEXT, "k": 2})).structured_content["demonstrations"]
            assert len(shown) == 2
            assert shown[0]["score"] >= shown[1]["score"]
            assert shown[0]["example"]["task"] == "NER"

            found = (await client.call_tool("extract", {"text": TEXT})).structured_content
            assert [(span["type"], span["span"], span["start"]) for span in found["spans"]] == [
                ("city", "Oslo", 9),
                ("city", "Lima", 17),
                ("airline", "Aurora Air", 27),
            ]
            assert found["demonstrations"] == 4

            why = (await client.call_tool("explain", {"text": TEXT})).structured_content
            assert len(why["demonstrations"]) == 4
            assert "oslo" in why["demonstrations"][0]["shared_words"]
            assert all(shown["reason"].startswith("similarity, choice ") for shown in why["demonstrations"])
            assert set(why["labels_not_shown"]).isdisjoint(why["labels_shown"])
            assert why["prompt"].endswith(f'Input: "{TEXT}"\nOutput:')

            for new in (True, False):
                added = (await client.call_tool("add_example", {"example": ADA})).structured_content
                assert (added["new"], extractor.store.get([added["id"]])[0].text) == (new, "Ada slept.")


async def test_explain_lists_the_best_first_whatever_the_order_of_the_prompt(extractor):
    orders = ("similar-last", "similar-first")
    texts = []
    for order in orders:
        ordered = Extractor(extractor.store, "baseline", k=4, labels=["city", "airline", "hotel"], order=order)
        async with Client(create_server(ordered)) as client:
            why = (await client.call_tool("explain", {"text": TEXT})).structured_content
        scores = [shown["score"] for shown in why["demonstrations"]]
        assert scores == sorted(scores, reverse=True)
        texts.append([shown["text"] for shown in why["demonstrations"]])
    assert texts[0] == texts[1]


async def test_what_a_caller_did_wrong_is_an_answer(extractor):
    async with Client(create_server(extractor)) as client:
        empty = await client.call_tool("extract", {"text": " "})
        assert empty.is_error
        assert "text is empty" in empty.content[0].text
        misplaced = ADA | {"entities": [{"type": "person", "text": "Ada", "start": 1, "end": 4}]}
        wrong = await client.call_tool("add_example", {"example": misplaced})
        assert wrong.is_error
        assert "found 'da '" in wrong.content[0].text
        task = await client.call_tool("retrieve", {"text": TEXT, "task": "RE", "labels": ["orbits"]})
        assert task.is_error


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        pytest.param("extract", {}, "text: Field required", id="missing"),
        pytest.param(
            "extract", {"text": TEXT, "task": "X"}, "task: Input should be 'NER', 'RE', 'ED' or 'EAE'", id="choice"
        ),
        pytest.param("retrieve", {"text": TEXT, "k": "many"}, "k: Input should be a valid integer", id="number"),
        pytest.param(
            "extract",
            {"text": TEXT, "labels": ["city", 3], "event": {"type": "trip"}},
            "labels[1]: Input should be a valid string; event.trigger: Field required",
            id="two inside of others",
        ),
        pytest.param(
            "add_example",
            {"example": ADA | {"entities": [{"type": "person", "text": "Ada", "start": 1, "end": 4}]}},
            "example: span 'Ada' is not the text at 1:4; found 'da '",
            id="whole",
        ),
    ],
)
async def test_wrong_arguments_are_named_with_what_is_allowed(extractor, tool, arguments, message):
    async with Client(create_server(extractor)) as client:
        answer = await client.call_tool(tool, arguments)
    assert answer.is_error
    assert answer.content[0].text.startswith(f"Error executing tool {tool}: {message}")
    assert "pydantic" not in answer.content[0].text
    assert "\n" not in answer.content[0].text


async def test_a_read_only_server_adds_nothing(extractor):
    async with Client(create_server(extractor, read_only=True)) as client:
        assert "add_example" not in {tool.name for tool in (await client.list_tools()).tools}
        assert (await client.call_tool("add_example", {"example": ADA})).is_error


async def test_the_command_over_stdio(tmp_path):
    store = tmp_path / "pool"
    DemonstrationStore.create(starter_examples("NER"), path=store, progress=False).close()
    arguments = [*COMMAND[1:], "--store", str(store), "--model", "baseline", "-k", "2"]
    async with Client(StdioServerParameters(command=COMMAND[0], args=arguments, env=dict(os.environ))) as client:
        added = (await client.call_tool("add_example", {"example": ADA})).structured_content
        found = (await client.call_tool("extract", {"text": TEXT, "labels": ["city"]})).structured_content
    assert {"Oslo", "Lima"} <= {span["span"] for span in found["spans"]}
    with DemonstrationStore.open(store) as opened:
        assert opened.get([added["id"]])[0].text == "Ada slept."


async def test_elsewhere_a_token_is_needed(extractor):
    with pytest.raises(RuieError, match="needs a token"):
        http_app(create_server(extractor), "0.0.0.0")
    with pytest.raises(RuieError, match="at least 16"):
        http_app(create_server(extractor), "0.0.0.0", "short")
    with served(http_app(create_server(extractor), "0.0.0.0", TOKEN)) as address:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
            async with httpx2.AsyncClient(headers=headers) as http:
                refused = await http.post(address, json={})
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as http,
            Client(streamable_http_client(address, http_client=http)) as client,
        ):
            assert (await client.call_tool("extract", {"text": TEXT})).structured_content["spans"]


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
async def test_on_loopback_a_web_page_of_elsewhere_is_refused(extractor, headers):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accepted = {"Accept": "application/json, text/event-stream"}
    with served(http_app(create_server(extractor))) as address:
        async with httpx2.AsyncClient() as http:
            refused = await http.post(address, json=body, headers=accepted | headers)
            assert refused.status_code in (403, 421)


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("127.0.0.9", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("a.example", False),
    ],
)
def test_which_hosts_are_this_machine(host, here):
    assert is_loopback(host) is here


def test_the_command_refuses_to_listen_elsewhere_without_a_token():
    environment = {name: value for name, value in os.environ.items() if name != "RUIE_TOKEN"}
    command = [*COMMAND, "--transport", "http", "--host", "0.0.0.0", "--model", "baseline", "--task", "NER"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 1
    assert "set RUIE_TOKEN" in done.stderr


async def test_a_long_text_is_cut_and_its_offsets_are_its_own(extractor):
    text = "We met at the weekend, and nothing came of it. " * 60 + TEXT
    async with Client(create_server(extractor)) as client:
        found = (await client.call_tool("extract", {"text": text, "labels": []})).structured_content
        assert {text[one["start"] : one["end"]] for one in found["spans"]} >= {"Oslo", "Lima", "Aurora Air"}
        assert found["demonstrations"] > 4  # each chunk has its own


async def test_shared_words_are_those_of_the_texts(extractor):
    async with Client(create_server(extractor)) as client:
        why = (await client.call_tool("explain", {"text": TEXT})).structured_content
        for shown in why["demonstrations"]:
            assert set(shown["shared_words"]) <= set(tokenize(TEXT)) & set(tokenize(shown["text"]))
        assert "from" in why["demonstrations"][0]["shared_words"]


async def test_what_a_model_fails_at_is_told(extractor):
    def fails(messages):
        raise KeyError("out of memory")

    async with Client(create_server(extractor.with_model(fails))) as client:
        answer = await client.call_tool("extract", {"text": TEXT})
        assert answer.is_error
        assert "KeyError: 'out of memory'" in answer.content[0].text


async def test_a_client_learns_the_labels_of_the_pool(extractor):
    async with Client(create_server(extractor)) as client:
        assert "NER (labels: " in client.instructions
        assert "airline" in client.instructions
        why = (await client.call_tool("explain", {"text": TEXT})).structured_content
    assert why["selector"] == "similarity, k=4"


def test_nothing_is_announced_where_the_server_cannot_start(extractor):
    announced = []
    server = create_server(extractor)
    with pytest.raises(RuieError, match="needs a token"):
        serve_http(server, "0.0.0.0", announce=announced.append)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RuieError, match=f"cannot listen on 127.0.0.1, port {port}: Address already in use"):
            serve_http(server, port=port, announce=announced.append)
    assert announced == []
