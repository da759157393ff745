"""LangChain's standard tests, as they are, of a chat model of this package."""

from types import MappingProxyType

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from ruie_components.chat import Constraint, CopyBaseline, Response
from ruie_components.langchain import RUIEChatModel, load_chat_model
from ruie_components.langchain.chat_models import to_runnable


class Echo:
    """Answers with the last message, word by word; takes a schema."""

    name = "echo"
    settings = MappingProxyType({"temperature": 0})
    constraints = frozenset({"json_schema"})

    def complete(self, prompt, *, constraint=None):
        pieces = list(self.stream(prompt, constraint=constraint))
        return sum(pieces[1:], pieces[0])

    async def acomplete(self, prompt, *, constraint=None):
        return self.complete(prompt, constraint=constraint)

    def stream(self, prompt, *, constraint=None):
        self.seen, self.constraint = prompt, constraint
        words = prompt.messages[-1][1].split(" ")
        for word in words[:-1]:
            yield Response(f"{word} ")
        yield Response(words[-1], len(prompt.text), len(words), truncated=len(words) > 4)

    async def astream(self, prompt, *, constraint=None):
        for piece in self.stream(prompt, constraint=constraint):
            yield piece


class _Standard:
    @property
    def chat_model_class(self):
        return RUIEChatModel

    @property
    def chat_model_params(self):
        return {"chat_model": CopyBaseline()}

    @property
    def has_tool_calling(self):
        return False

    @property
    def has_structured_output(self):
        return False


class TestUnit(_Standard, ChatModelUnitTests):
    pass


class TestIntegration(_Standard, ChatModelIntegrationTests):
    pass


@pytest.fixture
def model():
    return RUIEChatModel(chat_model=Echo())


async def test_messages_come_and_go(model):
    messages = [SystemMessage("Be short."), HumanMessage("a"), AIMessage("b"), HumanMessage("c d e")]
    answer = model.invoke(messages)
    assert model.chat_model.seen.messages == [("system", "Be short."), ("human", "a"), ("ai", "b"), ("human", "c d e")]
    assert model.chat_model.seen.text == "Be short.\n\na b\n\nc d e"
    assert answer.text == "c d e"
    assert answer.usage_metadata["output_tokens"] == 3
    assert answer.response_metadata["finish_reason"] == "stop"
    assert [chunk.text async for chunk in model.astream(messages) if chunk.text] == ["c ", "d ", "e"]
    assert model.invoke("1 2 3 4 5").response_metadata["finish_reason"] == "length"


async def test_an_answer_ends_before_a_stop_sequence(model):
    assert model.invoke("c d e f", stop=["e", "f"]).text == "c d "
    assert "".join(chunk.text for chunk in model.stream("c d e f", stop=["e"])) == "c d "
    assert "".join([chunk.text async for chunk in model.astream("c d e f", stop=["e"])]) == "c d "


def test_a_constraint_reaches_the_model(model):
    constraint = Constraint(json_schema={"type": "object"})
    model.invoke("Hi", constraint=constraint)
    assert model.chat_model.constraint == constraint


def test_models_by_name():
    assert load_chat_model("baseline").model_name == "baseline"
    pytest.importorskip("langchain_ollama")
    assert load_chat_model("ollama:llama3.1:8b", temperature=0.5).temperature == 0.5


def test_a_cache_does_not_mix_models_up():
    set_llm_cache(InMemoryCache())
    try:
        oslo, lima = (to_runnable(lambda _, city=city: f"city: {city}; city: Rome") for city in ("Oslo", "Lima"))
        assert oslo.invoke("x").text == "city: Oslo; city: Rome"
        assert lima.invoke("x").text == "city: Lima; city: Rome"
        whole, until = RUIEChatModel(chat_model=Echo()), RUIEChatModel(chat_model=Echo(), stop=[";"])
        assert whole.invoke("Oslo; Rome").text == "Oslo; Rome"
        assert until.invoke("Oslo; Rome").text == "Oslo"
    finally:
        set_llm_cache(None)
