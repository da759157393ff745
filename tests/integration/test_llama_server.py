"""A real language model on a real llama.cpp server, spoken to over HTTP with OpenAI's protocol."""

import asyncio

import httpx
import pytest

from ruie_components import ChatModelError, DemonstrationStore, Extractor, Query
from ruie_components.chat import load_chat_model
from ruie_components.chat.servers import grammar_options

from ..pool import EXAMPLES

pytest.importorskip("langchain_openai")

QUERY = Query(task="NER", text="Then Dan met Flo in Lima.", labels=["person", "place"])
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ruie_components.extraction.AnswerTruncatedWarning"),
]


@pytest.fixture(scope="module")
def url(small_llm):
    """The address of the server that runs SmolLM2."""
    return f"{small_llm._server.listening_address}/v1"


@pytest.fixture
def serve(url):
    """Loads the model behind the address as an OpenAI model, with options; its connections are closed at the end."""
    clients = []

    def load(**options):
        http = httpx.Client(trust_env=False)
        clients.append(http)
        return load_chat_model("openai:smollm2", base_url=url, http_client=http, **options)

    yield load
    for client in clients:
        client.close()


@pytest.fixture(scope="module")
def pool(encoder):
    with DemonstrationStore.create(EXAMPLES, encoder=encoder, pool="server", progress=False) as store:
        yield store


def test_openai_with_a_base_url(small_llm, serve, pool):
    served = serve(max_tokens=24, stop=["\nTask:"])
    prompt = Extractor(pool, served, k=2).prompt(QUERY)
    response, here = served.complete(prompt), small_llm.complete(prompt)
    assert response.text.strip() == here.text.strip()
    assert (response.input_tokens, response.output_tokens) == (here.input_tokens, here.output_tokens)


def test_the_url_alone_is_a_name(url):
    assert "smollm2" in load_chat_model(url).name.lower()


def test_probabilities_over_http(serve, pool):
    served = serve(max_tokens=24, logprobs=True, top_logprobs=5)
    result = Extractor(pool, served, k=2, hold="labels").extract(QUERY)
    assert len(result.confidence) == len(result.extraction.annotations) > 0
    assert all(0 < one.value <= 1 for one in result.confidence)


def test_answers_are_held_by_the_server(serve, pool):
    served = serve(max_tokens=24)
    query = Query(task="NER", text="Dan met Flo.", labels=["zebra", "quark"])
    answer = Extractor(pool, served, k=0, hold="labels").extract(query).extraction.answer
    assert answer.strip().startswith(("zebra: ", "quark: ", "None"))


def test_a_server_that_takes_no_grammar_is_named():
    with pytest.raises(ChatModelError, match="no server with OpenAI's protocol answers at http://127"):
        grammar_options("http://127.0.0.1:9/v1", "root ::= [a-z]")


def test_several_event_loops_one_after_another(serve, pool):
    """A kept connection belongs to the event loop that opened it."""
    extractor = Extractor(pool, serve(max_tokens=4), k=1)
    results = [asyncio.run(extractor.aextract(QUERY)) for _ in range(3)]
    assert len({result.extraction.answer for result in results}) == 1
