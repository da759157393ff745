"""Ollama's wire protocol over a real socket, spoken by the real ``ollama`` client and LangChain's ChatOllama."""

import socket
import warnings

import ollama
import pytest
from langchain_core.messages import HumanMessage
from langchain_ollama import ChatOllama

from ruie_components import ChatModelError, PromptTooLongError, Query
from ruie_components.answers import json_schema
from ruie_components.chat import as_chat_model, ollama_models
from ruie_components.chat.ollama import OllamaChat, PromptCutWarning
from ruie_components.extraction import AnswerTruncatedWarning, Extractor
from ruie_components.langchain import create_extraction_chain, load_chat_model
from ruie_components.prompts import build_prompt
from ruie_components.selection import DEFAULT_K

from ..pool import QUERIES, found
from .ollama_server import OllamaServer, tokens

pytestmark = pytest.mark.usefixtures("no_waiting")

NER = QUERIES["NER"]


def names(text: str) -> Query:
    return Query(task="NER", text=text, labels=["person"])


MESSAGES = [("human", "Hello there.")]


@pytest.fixture
def server(monkeypatch):
    with OllamaServer({"tiny:1b": 8192, "huge:70b": 131072}) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        yield server


@pytest.fixture
def model(server):
    return load_chat_model("ollama:tiny:1b")


# The server is what it says it is


def test_the_real_client_understands_the_server(server, store):
    with ollama.Client(server.url) as client:
        assert [one.model for one in client.list().models] == ["tiny:1b", "huge:70b"]
        assert client.show("tiny:1b").modelinfo["llama.context_length"] == 8192
        messages = [{"role": "user", "content": build_prompt(NER, store.search(NER)).text}]
        whole = client.chat("tiny:1b", messages, options={"temperature": 0})
        assert "person: Ada" in whole.message.content
        assert whole.done_reason == "stop"
        assert whole.prompt_eval_count > whole.eval_count > 0
        parts = list(client.chat("tiny:1b", messages, stream=True))
        assert "".join(part.message.content for part in parts) == whole.message.content
        assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
        with pytest.raises(ollama.ResponseError, match="not found") as caught:
            client.show("absent")
        assert caught.value.status_code == 404


def test_what_serves_is_found(server, monkeypatch):
    served = ["tiny:1b", "huge:70b"]
    assert ollama_models() == served
    assert ollama_models(server.url) == served

    monkeypatch.delenv("OLLAMA_HOST")
    assert ollama_models(server.url.removeprefix("http://")) == served


def test_models_that_only_embed_are_not_offered():
    families = {"bge-m3:567m": "bert", "nomic-embed-text:v1.5": "nomic-bert", "qwen3-embedding:0.6b": "qwen3"}
    with OllamaServer({**dict.fromkeys(families, 2048), "tiny:1b": 4096}, families) as server:
        assert ollama_models(server.url) == ["tiny:1b"]


def test_the_plain_chat_ollama_works_as_a_model_too(server, store):
    plain = ChatOllama(model="tiny:1b", base_url=server.url)
    result = Extractor(store, plain, answer_format="json", k=3).extract(NER)
    assert found(result.extraction)[:2] == [("place", "Oslo"), ("person", "Ada")]
    assert server.chats[0]["format"] == json_schema(NER)


# The four ways to ask


async def test_all_ways_to_ask_say_the_same(model, server, store):
    messages = Extractor(store, model).prompt(NER).messages
    whole = model.invoke(messages)
    assert whole.text.startswith("place: Oslo; person: Ada")
    assert whole.usage_metadata["input_tokens"] > 100
    assert (await model.ainvoke(messages)).text == whole.text
    assert "".join(chunk.text for chunk in model.stream(messages)) == whole.text
    assert "".join([chunk.text async for chunk in model.astream(messages)]) == whole.text
    roles = [message["role"] for message in server.chats[0]["messages"]]
    assert roles == ["system", *["user", "assistant"] * DEFAULT_K, "user"]
    for body in server.chats:
        assert body["options"] == {"num_ctx": 4096, "num_predict": 1024, "temperature": 0.0}


async def test_the_whole_chain(model, server, store):
    chain = create_extraction_chain(model, store, task="NER", k=3)
    result = chain.invoke(NER)
    assert found(result.extraction)[:2] == [("place", "Oslo"), ("person", "Ada")]
    assert result.usage.input_tokens == sum(map(tokens, server.chats[0]["messages"]))
    assert (await chain.ainvoke(NER)).extraction == result.extraction
    assert [one.extraction for one in chain.batch([NER] * 3)] == [result.extraction] * 3
    growing = [found(one.extraction) for one in chain.stream(NER)]
    assert growing == [found(result.extraction)[:size] for size in range(1, len(growing) + 1)]


@pytest.mark.parametrize("task", QUERIES)
def test_structured_output_sends_the_schema(model, server, store, task):
    query = QUERIES[task]
    result = Extractor(store, model, answer_format="json").extract(query)
    assert server.chats[0]["format"] == json_schema(query)
    assert result.extraction.answer.startswith("{")
    assert result.extraction.annotations


# The context


def words(count: int) -> list[HumanMessage]:
    return [HumanMessage("word " * count)]


def contexts(server) -> list[int]:
    return [body["options"]["num_ctx"] for body in server.chats]


def test_the_context_grows_with_the_prompt_and_never_shrinks(server):
    model = load_chat_model("ollama:huge:70b")
    for count in (10, 6000, 10):
        model.invoke(words(count))
    assert contexts(server) == [4096, 16384, 16384]


async def test_every_way_sets_the_context(server):
    model = load_chat_model("ollama:huge:70b", num_predict=-1)
    model.invoke(words(6000))
    await model.ainvoke(words(6000))
    list(model.stream(words(6000)))
    _ = [chunk async for chunk in model.astream(words(6000))]
    assert contexts(server) == [16384] * 4
    assert [path for path, _ in server.requests].count("/api/show") == 1


def test_options_of_a_call_keep_the_context(server):
    model = load_chat_model("ollama:huge:70b")
    model.invoke(words(6000), options={"top_k": 3})
    model.invoke(words(6000), options={"num_ctx": 32768})
    assert [body["options"] for body in server.chats] == [{"num_ctx": 16384, "top_k": 3}, {"num_ctx": 32768}]


def test_a_context_of_the_users_own_stays(server):
    load_chat_model("ollama:huge:70b", num_ctx=2048).invoke(words(10))
    assert contexts(server) == [2048]
    assert [path for path, _ in server.requests] == ["/api/chat"]


def test_no_more_is_asked_for_than_the_model_was_made_for(server, model):
    model.invoke(words(4000))
    assert contexts(server) == [8192]


LONG = Query(task="NER", text="Ada met Bob in Oslo. " * 10, labels=["person", "place"])


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_cut_prompt_is_a_warning(server, store, way):
    model = load_chat_model("ollama:tiny:1b", num_ctx=200)
    messages = build_prompt(LONG, store.search(LONG)).messages
    with pytest.warns(PromptCutWarning, match=r"truncated, at the front.*The context has 200 tokens: raise num_ctx"):
        await ask(model, way, messages)
    assert len(server.fitted(server.chats[0])) < len(messages)


def test_a_cut_last_message_is_a_warning(server):
    with pytest.warns(PromptCutWarning, match="read 200 tokens"):
        load_chat_model("ollama:tiny:1b", num_ctx=200).invoke(words(300))


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_text_longer_than_the_models_context_is_an_error(server, model, store, way):
    with pytest.raises(PromptTooLongError, match=r"'tiny:1b' reads 8,192 at the most. Split the text"):
        await ask(model, way, words(9000))
    (result,) = Extractor(store, model, k=0).extract_many([names("Ada met Bob. " * 4000)])
    assert result.error.startswith("PromptTooLongError")
    assert server.chats == []


# The end of the answer


@pytest.mark.parametrize("way", ["extract", "aextract", "stream", "astream"])
async def test_a_cut_answer_gives_its_finished_items_and_says_that_it_is_cut(server, store, way):
    server.answer = lambda body: "person: Ada; city: Rome"
    extractor = Extractor(store, load_chat_model("ollama:tiny:1b", num_predict=3))
    query = Query(task="NER", text="Ada saw Rome in the city: ", labels=["person", "city"])
    with pytest.warns(
        AnswerTruncatedWarning, match="truncated at its token limit, after 'person: Ada; city: '.*num_predict"
    ):
        result = await extract(extractor, way, query)
    assert found(result.extraction) == [("person", "Ada")]
    assert result.usage.truncated
    assert result.to_row()["usage"]["truncated"] is True


async def extract(extractor, way, query):
    match way:
        case "extract":
            return extractor.extract(query)
        case "aextract":
            return await extractor.aextract(query)
        case "stream":
            return list(extractor.stream(extractor.prompt(query)))[-1]
        case "astream":
            return [one async for one in extractor.astream(extractor.prompt(query))][-1]


@pytest.mark.parametrize("way", ["extract", "aextract", "stream", "astream"])
async def test_a_cut_prompt_is_a_warning_with_langchains_own_model_too(server, store, way):
    def extractor(context):
        return Extractor(store, ChatOllama(model="tiny:1b", base_url=server.url, num_ctx=context))

    with pytest.warns(PromptCutWarning, match=r"'ollama:tiny:1b' read \d+ tokens of a prompt of about.*max_tokens"):
        await extract(extractor(100), way, LONG)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PromptCutWarning)
        await extract(extractor(4096), way, LONG)


def test_a_cut_prompt_is_told_once(server, store):
    with pytest.warns(PromptCutWarning) as told:
        Extractor(store, load_chat_model("ollama:tiny:1b", num_ctx=100)).extract(LONG)
    assert len(told) == 1


def test_a_prompt_that_fits_is_no_warning(server, model, store):
    with warnings.catch_warnings():
        warnings.simplefilter("error", PromptCutWarning)
        result = Extractor(store, model).extract(LONG)
    assert result.extraction.entities
    assert server.fitted(server.chats[0]) == server.chats[0]["messages"]


async def test_this_machines_own_server_is_asked_without_a_proxy(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert ollama_models()
    model = load_chat_model("ollama:tiny:1b")
    assert model.invoke(MESSAGES).text == (await model.ainvoke(MESSAGES)).text == "None"


# When it does not work


@pytest.fixture
def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
async def test_an_unreachable_server(monkeypatch, closed_port, way):
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{closed_port}")
    model = load_chat_model("ollama:tiny:1b")
    with pytest.raises(ChatModelError, match=rf"no Ollama server .*:{closed_port}: start one with `ollama serve`"):
        await ask(model, way)
    assert ollama_models() == []


async def ask(model, way, messages=MESSAGES):
    match way:
        case "invoke":
            model.invoke(messages)
        case "ainvoke":
            await model.ainvoke(messages)
        case "stream":
            list(model.stream(messages))
        case "astream":
            _ = [chunk async for chunk in model.astream(messages)]


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("options", [{}, {"num_ctx": 4096}], ids=["context asked for", "context given"])
async def test_a_model_that_is_not_pulled(server, way, options):
    model = load_chat_model("ollama:absent:7b", **options)
    with pytest.raises(ChatModelError, match=r"has no model 'absent:7b'.*`ollama pull absent:7b`"):
        await ask(model, way)


def test_an_extraction_is_tried_again_while_the_server_is_busy(server, model, store):
    server.failures = [503, 503]
    assert Extractor(store, model).extract(NER).extraction.entities
    assert len(server.chats) == 3
    server.failures = [503] * 3
    with pytest.raises(ChatModelError, match="server busy"):
        Extractor(store, model).extract(NER)
    assert len(server.chats) == 6


def test_what_can_not_help_is_not_tried_again(server, store):
    server.failures = [400, 400]
    with pytest.raises(ChatModelError, match="could not answer with 'tiny:1b': server busy"):
        Extractor(store, load_chat_model("ollama:tiny:1b")).extract(NER)
    assert len(server.chats) == 1


def test_a_silent_server_is_given_up(server):
    server.silence = 0.5
    model = load_chat_model("ollama:tiny:1b", timeout=0.1)
    with pytest.raises(ChatModelError, match=r"did not respond within 0\.1 seconds.*raise timeout"):
        model.invoke(MESSAGES)
    assert OllamaChat(model="tiny:1b").timeout == 300


def test_a_hung_server_is_asked_once_a_query_and_ends_a_run(server, store):
    server.silence = 0.5
    extractor = Extractor(store, load_chat_model("ollama:tiny:1b", timeout=0.1), k=0)
    with pytest.raises(ChatModelError, match="did not respond"):
        extractor.extract(NER)
    assert len(server.chats) == 1
    with pytest.raises(ChatModelError, match="did not respond"):
        extractor.extract_many([names(f"Ada slept {times} times.") for times in range(50)], concurrency=1)
    assert len(server.chats) < 50


def test_one_bad_answer_leaves_the_others(server, model, store):
    server.failures = [400]
    results = Extractor(store, model).extract_many([NER, LONG, QUERIES["RE"]], concurrency=1)
    assert [result.error is None for result in results] == [False, True, True]


def test_what_decides_an_answer_tells_models_apart(server):
    def settings(**options):
        return as_chat_model(load_chat_model("ollama:tiny:1b", **options)).settings

    for options in ({"temperature": 1.0}, {"seed": 7}, {"num_predict": 5}, {"reasoning": True}):
        assert settings(**options) != settings(), options
    assert settings(timeout=5.0) == settings()


def test_no_connection_is_kept_for_another_event_loop(model):
    """It would belong to the event loop that opened it. What happens then: test_llama_server.py."""
    pool = model._async_client._client._transport._pool
    assert pool._max_keepalive_connections == 0
