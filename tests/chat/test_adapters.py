"""Chat models of other makes as the protocol: LangChain's, LlamaIndex's, functions, names."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel

from ruie_components.chat import (
    ChatModel,
    Constraint,
    CopyBaseline,
    MessageList,
    Response,
    as_chat_model,
    load_chat_model,
)
from ruie_components.chat.adapters import _address

PROMPT = MessageList([("system", "Find."), ("human", "Ada"), ("ai", "person: Ada"), ("human", "Bob")])
SCHEMA = Constraint(json_schema={"type": "object"})


def joined(pieces) -> Response:
    pieces = list(pieces)
    return sum(pieces[1:], pieces[0])


async def in_every_way(model: ChatModel, prompt=PROMPT, **options) -> Response:
    """The model's response, which is the same whole, in pieces, and asynchronously."""
    assert isinstance(model, ChatModel)
    whole = model.complete(prompt, **options)
    assert await model.acomplete(prompt, **options) == whole
    assert joined(model.stream(prompt, **options)) == whole
    assert joined([piece async for piece in model.astream(prompt, **options)]) == whole
    return whole


def test_a_chat_model_stays_as_it_is():
    model = CopyBaseline()
    assert as_chat_model(model) is model
    assert as_chat_model("baseline").name == "baseline"


@pytest.mark.parametrize("model", [7, None, [("human", "Hi")], CopyBaseline, dict], ids=repr)
def test_what_is_no_chat_model(model):
    with pytest.raises(TypeError, match="expected a chat model, got"):
        as_chat_model(model)


# Functions


async def test_a_function():
    seen = []

    def says(messages):
        seen.append(messages)
        return "person: Bob"

    model = as_chat_model(says)
    assert await in_every_way(model, constraint=SCHEMA) == Response("person: Bob")
    assert seen == [PROMPT.messages] * 4
    assert (model.name, model.settings, model.constraints) == ("says", {}, frozenset())


async def test_an_async_function_in_and_outside_of_an_event_loop():
    async def says(messages):
        await asyncio.sleep(0)
        return {"entities": [{"type": "person", "text": messages[-1][1]}]}

    class Says:
        async def __call__(self, messages):
            return await says(messages)

    for model in (as_chat_model(says), as_chat_model(Says())):
        response = await in_every_way(model)
        assert json.loads(response.text) == {"entities": [{"type": "person", "text": "Bob"}]}


# LangChain


def fake(*answers) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter(answers))


async def test_a_langchain_model():
    model = as_chat_model(fake(*[AIMessage("person: Bob")] * 4))
    assert await in_every_way(model) == Response("person: Bob")
    assert model.name == "GenericFakeChatModel"


@pytest.mark.parametrize("wrap", ["bind", "with_config", "with_retry", "both"])
def test_bound_models_keep_their_name_and_tell_their_settings(wrap):
    openai = pytest.importorskip("langchain_openai", reason="needs the extra [openai]")
    plain = openai.ChatOpenAI(model="m", api_key="none", temperature=0)
    wrapped = {
        "bind": lambda: plain.bind(top_p=0.5),
        "with_config": lambda: plain.with_config({"tags": ["mine"]}),
        "with_retry": lambda: plain.with_retry(),
        "both": lambda: plain.bind(top_p=0.5).with_config({"tags": ["mine"]}),
    }[wrap]()
    model, before = as_chat_model(wrapped), as_chat_model(plain)
    assert model.name == before.name == "openai:m"
    assert model.constraints == before.constraints == {"json_schema"}
    assert model.settings.get("top_p") == (0.5 if wrap in ("bind", "both") else None)
    assert json.dumps(model.settings)
    assert "none" not in json.dumps(model.settings)


def test_one_name_on_two_servers_is_two_models():
    pytest.importorskip("langchain_openai", reason="needs the extra [openai]")
    addresses = ["http://one.example/v1", "http://two.example/v1", "http://me:secret@one.example/v1/?key=secret#top"]
    models = [load_chat_model("openai:default", base_url=address) for address in addresses]
    assert [model.settings["base_url"] for model in models] == [*addresses[:2], addresses[0]]
    assert "base_url" not in load_chat_model("openai:default", api_key="none").settings


@pytest.mark.parametrize("user", ["user:pw@", "user:p?w@", "user:p/w@", "user:p@w#@", "user:p://w@"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_address_in_the_settings_has_no_password(scheme, user):
    assert _address(SimpleNamespace(base_url=f"{scheme}{user}host:8000/v1?key=pw")) == f"{scheme}host:8000/v1"


def test_an_address_that_is_none_is_no_error():
    assert _address(SimpleNamespace(base_url="http://[::1")) == "http://[::1"
    assert _address(SimpleNamespace(base_url=None)) is None


def test_the_settings_name_the_server_of_the_environment(monkeypatch):
    pytest.importorskip("langchain_openai", reason="needs the extra [openai]")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://one.example/v1")
    assert load_chat_model("openai:default").settings["base_url"] == "http://one.example/v1"


class Recorder:
    """Takes what a LangChain model takes, under a class name that the adapter knows."""

    def __init__(self):
        self.options = []

    def invoke(self, messages, **options):
        self.options.append(options)
        return "None"

    def stream(self, messages, **options):
        yield self.invoke(messages, **options)


def known_as(*names):
    base = Recorder
    for name in names:
        base = type(name, (base,), {})
    return base()


@pytest.mark.parametrize(
    ("names", "options", "streamed"),
    [
        (["ChatOllama"], ["format"], ["format"]),
        (["BaseChatOpenAI", "AzureChatOpenAI"], ["response_format"], ["response_format"]),
        (["BaseChatOpenAI", "ChatOpenAI"], ["response_format"], ["response_format", "stream_usage"]),
        (["Other"], [], []),
    ],
)
def test_what_each_provider_is_told(names, options, streamed):
    recorder = known_as(*names)
    model = as_chat_model(recorder)
    model.complete(PROMPT, constraint=SCHEMA)
    list(model.stream(PROMPT, constraint=SCHEMA))
    model.complete(PROMPT)
    model.complete(PROMPT, constraint=Constraint(grammar="root ::= [a-z]"))
    assert [list(given) for given in recorder.options] == [options, streamed, [], []]


class Person(BaseModel):
    name: str


class Structured(RunnableLambda):
    """As ``with_structured_output`` makes it: messages in, an object out, growing in a stream."""

    def __init__(self, *stages):
        super().__init__(lambda messages: stages[-1])
        self.stages = stages

    def stream(self, messages, config=None, **kwargs):
        yield from self.stages

    async def astream(self, messages, config=None, **kwargs):
        for stage in self.stages:
            yield stage


@pytest.mark.parametrize(
    ("stages", "text"),
    [
        ([{"entities": []}, {"entities": [1]}], {"entities": [1]}),
        ([Person(name="A"), Person(name="Ada")], {"name": "Ada"}),
        ([[Person(name="Ada")]], [{"name": "Ada"}]),
    ],
)
async def test_structured_output_is_an_answer_in_json(stages, text):
    response = await in_every_way(as_chat_model(Structured(*stages)))
    assert json.loads(response.text) == text


def test_the_raw_message_of_structured_output_counts_in_a_stream():
    raw = AIMessage("", usage_metadata={"input_tokens": 7, "output_tokens": 3, "total_tokens": 10})
    stages = [{"raw": raw}, {"parsed": Person(name="Ada")}, {"parsing_error": None}]
    assert joined(as_chat_model(Structured(*stages)).stream(PROMPT)).text == '{"name":"Ada"}'


def test_a_tool_call_in_pieces():
    def piece(arguments, name=None):
        chunk = {"name": name, "args": arguments, "id": "1", "index": 0, "type": "tool_call_chunk"}
        return AIMessageChunk("", tool_call_chunks=[chunk])

    pieces = [piece('{"entities": [{"ty', "Answer"), piece('pe": "person", "text": "Bob"}]}')]
    response = joined(as_chat_model(Structured(*pieces)).stream(PROMPT))
    assert json.loads(response.text) == {"entities": [{"type": "person", "text": "Bob"}]}


def test_a_structured_model_that_called_no_tool_answers_nothing():
    assert as_chat_model(RunnableLambda(lambda messages: None)).complete(PROMPT) == Response("")


def test_the_model_in_a_sequence_names_it():
    sequence = fake(AIMessage("None")) | RunnableLambda(lambda message: message)
    assert as_chat_model(sequence).name == "GenericFakeChatModel"


async def test_a_model_that_can_only_be_invoked():
    message = SimpleNamespace(text="person: Bob", usage_metadata={"input_tokens": 7, "output_tokens": 3})
    model = as_chat_model(SimpleNamespace(invoke=lambda messages: message))
    assert await in_every_way(model) == Response("person: Bob", 7, 3)


async def test_an_answer_before_and_in_a_tool_call():
    """Models write "Sure:" before a call."""
    call = {"name": "extract", "args": {"entities": [{"type": "person", "text": "Bob"}]}, "id": "1"}
    chunk = {"name": "extract", "args": json.dumps(call["args"]), "id": "1", "index": 0, "type": "tool_call_chunk"}
    assert as_chat_model(RunnableLambda(lambda _: AIMessage("Sure:", tool_calls=[call]))).complete(PROMPT).text == (
        'Sure:\n{"entities": [{"type": "person", "text": "Bob"}]}'
    )
    pieces = [AIMessageChunk("Sure:"), AIMessageChunk("", tool_call_chunks=[chunk])]
    streamed = joined(as_chat_model(Structured(*pieces)).stream(PROMPT)).text
    assert streamed == 'Sure:\n{"entities": [{"type": "person", "text": "Bob"}]}'


async def test_a_function_that_returns_something_to_await():
    async def answer() -> str:
        return "person: Bob"

    assert await in_every_way(as_chat_model(lambda messages: answer())) == Response("person: Bob")


@pytest.mark.parametrize("given", [GenericFakeChatModel, CopyBaseline, dict], ids=lambda given: given.__name__)
def test_a_class_is_no_model(given):
    with pytest.raises(TypeError, match=f"expected a chat model, got the class {given.__name__}: give a name"):
        as_chat_model(given)


class Whole(SimpleNamespace):
    """A LlamaIndex LLM whose chunks have the whole text so far, without what is new in each."""

    metadata = SimpleNamespace(model_name="whole")

    def chunks(self):
        for text in self.texts:
            yield SimpleNamespace(delta=None, raw=None, additional_kwargs={}, message=SimpleNamespace(content=text))

    def chat(self, messages):
        return list(self.chunks())[-1]

    async def achat(self, messages):
        return self.chat(messages)

    def stream_chat(self, messages):
        return self.chunks()

    async def astream_chat(self, messages):
        async def chunks():
            for chunk in self.chunks():
                yield chunk

        return chunks()


def test_llama_index_streams_whose_chunks_have_their_own_text_only():
    class Own(Whole):
        def chunks(self):
            for text in self.texts:
                message = SimpleNamespace(content=text)
                yield SimpleNamespace(delta=text, raw=None, additional_kwargs={}, message=message)

    assert joined(as_chat_model(Own(texts=["person: ", "Bob"])).stream(PROMPT)) == Response("person: Bob")


@pytest.mark.parametrize(
    ("texts", "pieces"),
    [
        (["per", "person: ", "person: Bob"], ["", "person: ", "Bob", ""]),
        (['{"a": []}', '{"a": ["Bob"]}'], ["", "", '{"a": ["Bob"]}']),  # a structured LLM
        (["person: Bob"], ["", "person: Bob"]),
    ],
)
async def test_llama_index_streams_of_whole_texts(texts, pieces):
    model = as_chat_model(Whole(texts=texts))
    assert [piece.text for piece in model.stream(PROMPT)] == pieces
    assert await in_every_way(model) == Response(texts[-1])
