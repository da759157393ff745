import json
from typing import Literal

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from ruie_components import ChatModelError, PromptTooLongError, StoreError
from ruie_components.chat import CopyBaseline
from ruie_components.extraction import ExtractionResult, Extractor
from ruie_components.langchain import RUIEChatModel, create_extraction_chain
from ruie_components.selection import Selector
from ruie_components.store import DemonstrationStore

from ..pool import EXAMPLES, QUERIES, found

NER = QUERIES["NER"]


@pytest.fixture
def chain(store):
    return create_extraction_chain(CopyBaseline(), store, task="NER", k=3)


def same(one: ExtractionResult, other: ExtractionResult) -> bool:
    """Equal but for the seconds, and for what rounding does to scores."""
    return (one.extraction, one.prompt.text, one.usage.input_tokens) == (
        other.extraction,
        other.prompt.text,
        other.usage.input_tokens,
    )


async def test_it_is_the_extractor(chain, store):
    expected = Extractor(store, CopyBaseline(), k=3).extract(NER)
    assert expected.extraction.entities
    assert expected.usage.input_tokens > 0
    for result in (chain.invoke(NER), await chain.ainvoke(NER), chain.batch([NER])[0], list(chain.stream(NER))[-1]):
        assert same(result, expected)


@pytest.mark.parametrize("task", QUERIES)
def test_inputs_in_every_way_mean_the_same(chain, task):
    query = QUERIES[task]
    row = {"task": task, "text": query.text, "labels": list(query.labels)}
    row |= {"event": query.event.model_dump()} if query.event else {}
    assert same(chain.invoke(row), chain.invoke(query))
    assert chain.invoke(row).extraction.annotations
    assert same(chain.invoke({"query": query}), chain.invoke(query))


def test_a_text_alone_asks_for_what_the_defaults_say(store):
    chain = create_extraction_chain(CopyBaseline(), store, task="NER", labels=["place"], k=3)
    result = chain.invoke("In Oslo Ada met Dan.")
    assert result.prompt.query.labels == ("place",)
    assert found(result.extraction) == [("place", "Oslo")]
    everything = create_extraction_chain(CopyBaseline(), store, task="NER").invoke({"input": "In Oslo."})
    assert everything.prompt.query.labels == store.labels("NER")


def test_options_are_the_extractors(store):
    options = {"k": 2, "answer_format": "json", "selector": Selector("mmr")}
    result = create_extraction_chain(CopyBaseline(), store, **options).invoke(NER)
    assert result.usage.demonstrations == 2
    assert result.extraction.answer.startswith("{")
    with pytest.raises(PromptTooLongError):
        create_extraction_chain(CopyBaseline(), store, max_tokens=10).invoke(NER)
    with pytest.raises(TypeError, match="shots"):
        create_extraction_chain(CopyBaseline(), store, shots=3)


TEXTS = ["In Oslo Ada met Dan.", "Cy met none.", "nothing"]


async def test_a_batch_is_one_search(chain, searches):
    single = [chain.invoke(text) for text in TEXTS]
    del searches[:]
    for results in (chain.batch(TEXTS, {"max_concurrency": 2}), await chain.abatch(TEXTS)):
        assert all(same(one, other) for one, other in zip(results, single, strict=True))
    assert searches == [3, 3]
    assert chain.batch([]) == []


async def test_one_bad_input_of_a_batch(chain):
    bad = ["Ada slept.", " ", {"no": "text"}, "Cy met none."]
    for results in (
        chain.batch(bad, return_exceptions=True),
        await chain.abatch(bad, return_exceptions=True),
    ):
        assert [type(one) for one in (results[0], results[3])] == [ExtractionResult] * 2
        assert "text is empty" in str(results[1])
        assert "no text under" in str(results[2])
    with pytest.raises(ValueError, match="text is empty"):
        chain.batch(bad)
    with pytest.raises(ValueError, match="text is empty"):
        await chain.abatch(bad)


async def test_an_input_of_a_task_that_the_pool_lacks(encoder):
    with DemonstrationStore.create(EXAMPLES[:3], encoder=encoder, progress=False) as store:
        chain = create_extraction_chain(CopyBaseline(), store, k=1)
        mixed = ["Ada slept.", {"task": "RE", "text": "Ada."}, QUERIES["ED"], "Cy met none."]
        for results in (
            chain.batch(mixed, return_exceptions=True),
            await chain.abatch(mixed, return_exceptions=True),
        ):
            assert [type(one) for one in (results[0], results[3])] == [ExtractionResult] * 2
            assert isinstance(results[1], StoreError)
            assert isinstance(results[2], StoreError)


def test_an_instruction_of_ones_own(store):
    chain = create_extraction_chain(CopyBaseline(), store, task="NER", instruction="Find them.", fuzzy_threshold=None)
    assert chain.invoke(NER).prompt.instruction == "Find them."


async def test_a_stream_grows(chain):
    streamed = [found(one.extraction) for one in chain.stream(NER)]
    whole = found(chain.invoke(NER).extraction)
    assert streamed == [whole[:1], whole[:2], whole]
    assert [found(one.extraction) async for one in chain.astream(NER)] == streamed
    assert [one.usage.output_tokens is not None for one in chain.stream(NER)] == [False, False, True]


class Runs(BaseCallbackHandler):
    def __init__(self):
        self.parents, self.names, self.ended = [], [], []

    def on_chain_start(self, serialized, inputs, *, run_id, parent_run_id=None, name=None, **_):
        self.names.append(name)
        self.run_id = run_id

    def on_chain_end(self, outputs, **_):
        self.ended.append(outputs)

    def on_chat_model_start(self, serialized, messages, *, parent_run_id=None, tags=None, **_):
        self.parents.append((parent_run_id, tags))


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "batch", "abatch", "stream", "astream"])
async def test_the_models_run_is_a_child_of_the_chains(chain, way):
    runs = Runs()
    config = {"callbacks": [runs], "tags": ["mine"]}
    match way:
        case "invoke" | "stream":
            result = getattr(chain, way)(NER, config)
            result = list(result)[-1] if way == "stream" else result
        case "batch":
            (result,) = chain.batch([NER], config)
        case "ainvoke":
            result = await chain.ainvoke(NER, config)
        case "abatch":
            (result,) = await chain.abatch([NER], config)
        case "astream":
            result = [one async for one in chain.astream(NER, config)][-1]
    assert runs.names == ["ExtractionChain"]
    assert runs.parents == [(runs.run_id, ["mine"])]
    assert same(runs.ended[0], result)


async def test_it_is_a_part_of_longer_chains(chain):
    texts = RunnableLambda(lambda result: [entity.text for entity in result.extraction.entities])
    longer = RunnableParallel(text=RunnableLambda(str)) | chain | texts
    assert longer.invoke("Cy met none.") == ["Cy"]
    assert longer.batch(TEXTS)[1] == ["Cy"]
    assert list(longer.stream("Cy met none.")) == [["Cy"]]
    assert [one async for one in longer.astream("Cy met none.")] == [["Cy"]]


def test_labels_with_commas_brackets_and_repeats(store):
    model = GenericFakeChatModel(messages=iter([AIMessage("city, town: Oslo; [x]: Ada; a: b: Dan")]))
    chain = create_extraction_chain(model, store, task="NER")
    result = chain.invoke({"text": NER.text, "labels": ["city, town", "[x]", "a: b", "[x]"]})
    assert result.prompt.query.labels == ("city, town", "[x]", "a: b")
    assert "Schema: [city, town, [x], a: b]" in result.prompt.text
    assert found(result.extraction) == [("city, town", "Oslo"), ("[x]", "Ada"), ("a: b", "Dan")]


def test_it_can_be_described(chain):
    assert chain.get_name() == "ExtractionChain"
    assert "anyOf" in chain.get_input_jsonschema()
    assert "ExtractionChain" in str(chain.get_graph().nodes)


async def test_an_agents_model_calls_it_as_a_tool(chain):
    tool = chain.as_tool()
    assert tool.name == "extract"
    schema = tool.tool_call_schema.model_json_schema()
    assert (list(schema["properties"]), schema["required"]) == (["text", "task", "labels", "event"], ["text"])
    assert convert_to_openai_tool(tool)["function"]["parameters"]["required"] == ["text"]
    runs = Runs()
    arguments = {"text": NER.text, "task": "NER", "labels": [], "event": None}
    call = {"type": "tool_call", "name": "extract", "id": "1", "args": arguments}
    expected = chain.invoke(NER)
    for message in (tool.invoke(call, {"callbacks": [runs]}), await tool.ainvoke(call)):
        assert same(message.artifact, expected)
        assert [span["span"] for span in json.loads(message.content)["spans"]] == ["Oslo", "Ada", "Dan"]
    assert runs.names == ["ExtractionChain"]
    query = QUERIES["EAE"]
    arguments = {"text": query.text, "task": "EAE", "labels": ["place"], "event": query.event.model_dump()}
    spans = json.loads(tool.invoke(arguments))["spans"]
    assert {"item": 0, "type": "sale", "role": "place", "span": "Rome", "start": 24, "end": 28} in spans
    with pytest.raises(ValueError, match="text is empty"):
        tool.invoke({"text": " "})


def test_what_was_rejected_is_told_to_an_agents_model(store):
    tool = create_extraction_chain(lambda messages: "person: Mars", store, task="NER").as_tool(name="find")
    assert tool.name == "find"
    assert json.loads(tool.invoke({"text": "Ada slept."})) == {
        "spans": [],
        "rejected": [{"reason": "ungrounded", "answer": "person: Mars"}],
    }


def test_the_arguments_of_a_tool_may_be_other_ones(chain):
    assert list(chain.as_tool(arg_types={"text": str}).args) == ["text"]

    class Arguments(BaseModel):
        text: str
        labels: list[Literal["person", "place"]]

    tool = chain.as_tool(Arguments, description="Find names.")
    assert tool.description == "Find names."
    assert len(json.loads(tool.invoke({"text": NER.text, "labels": ["place"]}))["spans"]) == 1


async def test_any_chat_model_will_do(store):
    def model(count):
        return GenericFakeChatModel(messages=iter([AIMessage("person: Ada; place: Mars")] * count))

    chain = create_extraction_chain(model(2), store, task="NER")
    for result in (chain.invoke(NER), await chain.ainvoke(NER)):
        assert found(result.extraction) == [("person", "Ada")]
        assert result.usage.input_tokens is None


class Unreachable(RUIEChatModel):
    failures: int = 1

    def _generate(self, *args, **kwargs):
        self._fail()
        return super()._generate(*args, **kwargs)

    async def _agenerate(self, *args, **kwargs):
        self._fail()
        return await super()._agenerate(*args, **kwargs)

    def _stream(self, *args, **kwargs):
        self._fail()
        yield from super()._stream(*args, **kwargs)

    def _fail(self):
        self.failures -= 1
        if self.failures >= 0:
            raise ConnectionError("refused")


async def test_transport_errors_are_tried_again(store, chain):
    def with_failures(failures, **options):
        return create_extraction_chain(
            Unreachable(chat_model=CopyBaseline(), failures=failures), store, task="NER", k=3, **options
        )

    expected = chain.invoke(NER)
    assert same(with_failures(2).invoke(NER), expected)
    assert same(await with_failures(2).ainvoke(NER), expected)
    assert same(with_failures(2).batch([NER])[0], expected)
    assert same(list(with_failures(2).stream(NER))[-1], expected)
    with pytest.raises(ChatModelError, match="baseline' failed after 2 attempts"):
        with_failures(2, retries=1).invoke(NER)


def test_a_result_is_equal_after_a_langgraph_checkpoint(chain):
    serde = pytest.importorskip("langgraph.checkpoint.serde.jsonplus")
    serializer = serde.JsonPlusSerializer()
    result = chain.invoke(NER)
    back = serializer.loads_typed(serializer.dumps_typed(result))
    assert back == result
    assert back.demonstrations == result.demonstrations
    assert len(repr(result)) < 200
    assert len(repr(chain)) < 300
