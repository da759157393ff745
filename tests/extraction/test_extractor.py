"""The Extractor, with models that are plain Python: no framework is needed."""

import asyncio
import time
from types import SimpleNamespace

import httpx
import numpy as np
import ollama
import pytest

from ruie_components import ChatModelError, PromptTooLongError, Query, Rejection, StoreError, answers
from ruie_components.answers import json_schema
from ruie_components.chat import Constraint, MessageList, as_chat_model, retry
from ruie_components.extraction import AnswerTruncatedWarning, Extractor
from ruie_components.selection import Selector
from ruie_components.store import DemonstrationStore

from ..pool import EXAMPLES, QUERIES, found, ner
from .many import MANY, PEOPLE, SOME, Copier, answers_of, names

pytestmark = pytest.mark.usefixtures("no_waiting")

NER = QUERIES["NER"]


def says(text):
    return lambda messages: text


class Failing:
    """Fails some times, then answers."""

    def __init__(self, error: Exception, times: int, answer: str = "person: Ada"):
        self.error, self.times, self.answer = error, times, answer
        self.calls = 0

    def __call__(self, messages):
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return self.answer


def test_a_function_is_enough_of_a_model(store):
    seen = []

    def model(messages):
        seen.extend(messages)
        return "person: Ada; place: Oslo; place: Mars"

    result = Extractor(store, model, k=2).extract(NER)
    assert [role for role, _ in seen] == ["system", "human", "ai", "human", "ai", "human"]
    assert seen == result.prompt.messages
    assert found(result.extraction) == [("person", "Ada"), ("place", "Oslo")]
    assert [rejected.spans for rejected in result.extraction.rejected] == [("Mars",)]
    assert result.error is None
    assert (result.usage.demonstrations, result.usage.dropped, result.usage.input_tokens) == (2, 0, None)
    assert result.usage.seconds > 0


def test_demonstrations_come_back_best_first_as_the_selector_chose_them(store):
    result = Extractor(store, says("None"), k=3).extract(NER)
    assert list(result.demonstrations) == Selector(k=3).select(store, NER)
    assert result.prompt.demonstrations[-1] == result.demonstrations[0]


@pytest.mark.parametrize(
    ("message", "tokens"),
    [
        (SimpleNamespace(text="person: Ada", usage_metadata={"input_tokens": 700, "output_tokens": 3}), (700, 3)),
        (SimpleNamespace(content="person: Ada"), (None, None)),
        (SimpleNamespace(content=["blocks"], text="person: Ada", usage_metadata=None), (None, None)),
    ],
    ids=["text and usage", "content", "content blocks"],
)
def test_a_model_may_be_anything_with_invoke(store, message, tokens):
    model = SimpleNamespace(invoke=lambda messages: message)
    result = Extractor(store, model).extract(NER)
    assert found(result.extraction) == [("person", "Ada")]
    assert (result.usage.input_tokens, result.usage.output_tokens) == tokens


def test_what_is_no_model_is_refused(store):
    with pytest.raises(ValueError, match="'llama3' is not the name of a chat model: give ollama:MODEL"):
        Extractor(store, "llama3")
    with pytest.raises(TypeError, match="expected a chat model, got int: give a name"):
        Extractor(store, 7)
    with pytest.raises(TypeError, match=r"returned NoneType, which has neither \.text nor \.content"):
        Extractor(store, says(None)).extract(NER)


def test_k_and_the_selector(store):
    assert Extractor(store, says("")).selector == Selector()
    assert Extractor(store, says(""), k=3).selector == Selector(k=3)
    assert Extractor(store, says(""), k=3, selector=Selector("mmr")).selector == Selector("mmr", k=3)
    assert Extractor(store, says(""), selector=Selector("mmr", k=5)).selector.k == 5
    with pytest.raises(ValueError, match="got -1"):
        Extractor(store, says(""), k=-1)
    with pytest.raises(ValueError, match="yaml"):
        Extractor(store, says(""), answer_format="yaml")


@pytest.mark.parametrize(("k", "shown"), [(0, 0), (1, 1), (1000, 5), (np.int64(2), 2)])
def test_any_k_gives_what_the_pool_has(store, k, shown):
    assert Extractor(store, says("None"), k=k).extract(NER).usage.demonstrations == shown


def test_an_empty_pool_is_an_error_that_says_so(encoder):
    with DemonstrationStore.create([], encoder=encoder) as store:
        with pytest.raises(StoreError, match="empty"):
            Extractor(store, says("None")).extract(NER)
        assert Extractor(store, says("person: Ada"), k=0).extract(NER).extraction.entities  # zero-shot needs no pool


def test_a_budget_drops_demonstrations_and_says_how_many(store):
    full = Extractor(store, says("None"), k=3).extract(NER)
    fitted = Extractor(store, says("None"), k=3, max_tokens=full.prompt.tokens - 1).extract(NER)
    assert (fitted.usage.demonstrations, fitted.usage.dropped) == (2, 1)
    assert fitted.demonstrations == full.demonstrations[:2]
    with pytest.raises(PromptTooLongError):
        Extractor(store, says("None"), max_tokens=10).extract(NER)


def test_a_text_of_two_megabytes(store):
    text = "Ada met Bob at night. " * 100_000
    long = Query(task="NER", text=text, labels=["person"])
    result = Extractor(store, says("person: Ada; person: Zoe")).extract(long)
    assert found(result.extraction) == [("person", "Ada")]
    (over,) = Extractor(store, says("None"), max_tokens=8000).extract_many([long])
    assert "split it into smaller texts" in over.error


# Answers that are not whole


@pytest.mark.parametrize(
    "said",
    [
        {"done_reason": "length"},
        {"finish_reason": "length"},
        {"finish_reason": "MAX_TOKENS"},
        {"stop_reason": "max_tokens"},
    ],
    ids=str,
)
def test_of_a_cut_answer_the_finished_items_count(store, said):
    message = SimpleNamespace(text="person: Ada; place: Os", response_metadata=said)
    with pytest.warns(AnswerTruncatedWarning, match="raise the limit|Raise the limit"):
        result = Extractor(store, SimpleNamespace(invoke=lambda messages: message)).extract(NER)
    assert found(result.extraction) == [("person", "Ada")]
    assert result.usage.truncated
    message.response_metadata = {"done_reason": "stop"}
    assert not Extractor(store, SimpleNamespace(invoke=lambda messages: message)).extract(NER).usage.truncated


@pytest.mark.parametrize("text", ["<think>person: Ada; place: Oslo; so", "", "I can't help with that."])
def test_an_answer_without_an_answer_is_rejected(store, text):
    (rejected,) = Extractor(store, says(text)).extract(NER).extraction.rejected
    assert rejected.reason is Rejection.UNREADABLE
    assert rejected.answer == text
    assert Extractor(store, says("None")).extract(NER).extraction.rejected == ()


# Transport errors


APIConnectionError = type("APIConnectionError", (Exception,), {})


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionError("refused"), True),
        (TimeoutError(), True),
        (httpx.ConnectTimeout("far"), True),
        (httpx.ReadTimeout("silent for the whole time-out"), False),
        (type("APITimeoutError", (APIConnectionError,), {})(), False),
        (httpx.ConnectError("refused"), True),
        (APIConnectionError(), True),
        (ollama.ResponseError("busy", 503), True),
        (ollama.ResponseError("too many", 429), True),
        (ollama.ResponseError("no such model", 404), False),
        (ollama.ResponseError("bad request", 400), False),
        (ValueError("a bug"), False),
        (ChatModelError("no such model"), False),
        (None, False),
    ],
    ids=repr,
)
def test_which_errors_are_worth_another_try(error, again):
    assert retry.is_retryable(error) is again


def test_transport_errors_are_tried_again(store):
    model = Failing(ConnectionError("refused"), 2)
    assert found(Extractor(store, model).extract(NER).extraction) == [("person", "Ada")]
    assert model.calls == 3


def test_after_the_last_try_the_error_says_what_happened(store):
    model = Failing(httpx.ConnectTimeout("far"), 9)
    with pytest.raises(ChatModelError, match="failed after 2 attempts: ConnectTimeout: far") as caught:
        Extractor(store, model, retries=1).extract(NER)
    assert isinstance(caught.value.__cause__, httpx.ConnectTimeout)
    assert model.calls == 2


def test_a_silent_server_is_asked_once_a_query_and_given_up_after_three(store):
    model = Failing(httpx.ReadTimeout("slow"), 999)
    with pytest.raises(ChatModelError, match="failed: ReadTimeout: slow"):
        Extractor(store, model).extract(NER)
    assert model.calls == 1
    with pytest.raises(ChatModelError, match="ReadTimeout"):
        Extractor(store, model).extract_many(SOME, concurrency=1)
    assert model.calls < len(SOME)


def test_a_refusal_is_not_tried_again_and_names_the_model(store):
    model = Failing(ollama.ResponseError("no such model", 404), 9)
    model.model = "llama9"
    with pytest.raises(ChatModelError, match="'llama9' refused the request: ResponseError: no such model"):
        Extractor(store, model).extract(NER)
    assert model.calls == 1


def test_other_errors_are_not_tried_again(store):
    model = Failing(KeyError("a bug"), 9)
    with pytest.raises(KeyError):
        Extractor(store, model).extract(NER)
    assert model.calls == 1


async def test_the_async_twin_retries_too(store):
    failing = Failing(ConnectionError("refused"), 2)

    async def model(messages):
        return failing(messages)

    assert found((await Extractor(store, model).aextract(NER)).extraction) == [("person", "Ada")]
    assert failing.calls == 3
    with pytest.raises(ChatModelError, match="failed after 1 attempt:"):
        await Extractor(store, Failing(ConnectionError(), 1), retries=0).aextract(NER)


# Many queries


def test_many_keep_their_order_and_run_side_by_side(store):
    model = Copier()
    results = Extractor(store, model).extract_many(MANY, concurrency=3)
    assert answers_of(results) == PEOPLE
    assert 1 < model.most_at_a_time <= 3


async def test_many_async(store):
    model = Copier("Cy")
    results = await Extractor(store, model).aextract_many(MANY, concurrency=3)
    assert answers_of(results) == ["Ada", "Bob", None, *PEOPLE[3:]]
    assert results[2].error == "RuntimeError: no Cy today"
    assert 1 < model.most_at_a_time <= 3


def test_one_failure_leaves_the_others(store):
    results = Extractor(store, Copier("Cy", "Hal")).extract_many(MANY)
    assert answers_of(results) == ["Ada", "Bob", None, *PEOPLE[3:7], None]
    assert results[7].error == "RuntimeError: no Hal today"
    assert results[7].extraction.text == MANY[7].text
    assert [result.error for result in results].count(None) == 6


def test_queries_without_a_prompt_leave_the_others(encoder):
    with DemonstrationStore.create([ner("Ada slept.", Ada="person")], encoder=encoder) as store:
        long = names("Zoe " * 2000)
        extractor = Extractor(store, Copier(), max_tokens=1000)
        results = extractor.extract_many([MANY[0], QUERIES["RE"], long, MANY[1]])
    assert answers_of(results) == ["Ada", None, None, "Bob"]
    assert "has no RE examples" in results[1].error
    assert results[2].error.startswith("PromptTooLongError")
    assert results[2].prompt is None
    assert results[2].demonstrations == ()


@pytest.mark.parametrize(
    "error",
    [ConnectionError("refused"), httpx.ConnectError("refused"), ollama.ResponseError("no such model", 404)],
    ids=repr,
)
async def test_a_model_that_can_not_be_asked_at_all_ends_the_run_at_once(store, error):
    model = Failing(error, 999)
    queries = SOME
    with pytest.raises(ChatModelError):
        Extractor(store, model, retries=0).extract_many(queries, concurrency=1)
    assert model.calls < len(queries)
    model.calls = 0
    with pytest.raises(ChatModelError):
        await Extractor(store, model, retries=0).aextract_many(queries, concurrency=1)
    assert model.calls < len(queries)
    two = Extractor(store, model, retries=0).extract_many(MANY[:2])
    assert all("ChatModelError" in result.error for result in two)


@pytest.mark.parametrize(
    "error",
    [ollama.ResponseError("busy", 503), ollama.ResponseError("too long", 400)],
    ids=repr,
)
def test_what_may_be_the_requests_own_fault_does_not(store, error):
    results = Extractor(store, Failing(error, 7), retries=0).extract_many(MANY, concurrency=1)
    assert [result.error is None for result in results] == [False] * 7 + [True]


def test_a_server_that_goes_away_later_does_not_cost_the_results(store):
    calls = []

    def model(messages):
        calls.append(1)
        if len(calls) > 1:
            raise ConnectionError("refused")
        return "person: Ada"

    results = Extractor(store, model, retries=0).extract_many(MANY, concurrency=1)
    assert [result.error is None for result in results] == [True] + [False] * 7


def test_equal_queries_are_asked_once(store, tmp_path):
    model = Copier("Bob")
    queries = [MANY[0], MANY[1], MANY[0].model_copy(), MANY[1]]
    results = Extractor(store, model).extract_many(queries, resume=tmp_path / "results.jsonl")
    assert answers_of(results) == ["Ada", None, "Ada", None]
    assert sorted(model.asked) == ["Ada", "Bob"]
    again = Extractor(store, Copier()).extract_many(queries, resume=tmp_path / "results.jsonl")
    assert answers_of(again) == ["Ada", "Bob", "Ada", "Bob"]


async def test_equal_queries_are_asked_once_async(store):
    model = Copier()
    assert answers_of(await Extractor(store, model).aextract_many([MANY[0]] * 3)) == ["Ada"] * 3
    assert model.asked == ["Ada"]


def test_an_example_asks_its_query(store):
    extractor = Extractor(store, says("person: Ada"), k=2)
    example = EXAMPLES[0]
    result = extractor.extract(example)
    assert result.prompt.query == example.query
    assert found(result.extraction) == [("person", "Ada")]
    assert extractor.extract_many([example])[0].extraction == result.extraction


async def test_a_text_is_enough_where_the_pool_has_one_task(store):
    with DemonstrationStore.create([one for one in EXAMPLES if one.task == "NER"], progress=False) as pool:
        extractor = Extractor(pool, says("person: Ada"))
        for result in (
            extractor.extract("In Oslo Ada met Dan."),
            await extractor.aextract({"text": "In Oslo Ada met Dan."}),
            *extractor.extract_many(["In Oslo Ada met Dan."]),
        ):
            assert result.prompt.query == NER
            assert found(result.extraction) == [("person", "Ada")]


async def test_what_is_no_query_is_refused_by_name(store):
    extractor = Extractor(store, says("None"))
    with pytest.raises(ValueError, match="which task"):
        extractor.extract("In Oslo Ada met Dan.")
    with pytest.raises(TypeError, match="got int"):
        await extractor.aextract(3)
    with pytest.raises(TypeError, match="got int"):
        extractor.extract_many([3])
    for one in (NER, EXAMPLES[0], "Ada"):
        with pytest.raises(TypeError, match="expected a list of inputs, got one"):
            extractor.extract_many(one)
    with pytest.raises(TypeError, match=r"expected a Selector, got str; use Selector\(\"mmr\"\)"):
        Extractor(store, says("None"), selector="mmr")


def test_an_instruction_and_a_threshold_of_ones_own(store):
    query = names("She met the Norwegian ambassador.")
    model = says("person: Norwegian ambasador")
    result = Extractor(store, model, instruction="Find them.", fuzzy_threshold=None).extract(query)
    assert result.prompt.messages[0] == ("system", "Find them.")
    assert found(result.extraction) == []
    assert found(Extractor(store, model).extract(query).extraction) == [("person", "Norwegian ambassador")]


def test_one_search_serves_many(store, monkeypatch):
    sizes = []
    encode = type(store.encoder).encode_queries
    monkeypatch.setattr(
        type(store.encoder), "encode_queries", lambda self, texts: sizes.append(len(texts)) or encode(self, texts)
    )
    Extractor(store, Copier()).extract_many(MANY)
    assert sizes == [len(MANY)]


def test_no_queries_and_no_concurrency(store):
    assert Extractor(store, Copier()).extract_many([]) == []
    with pytest.raises(ValueError, match="concurrency must be >= 1, got 0"):
        Extractor(store, Copier()).extract_many(MANY, concurrency=0)


def test_short_work_shows_no_bar(store, capsys):
    Extractor(store, says("None")).extract_many(MANY, progress=True)
    assert capsys.readouterr() == ("", "")


# The JSON form


class ChatOllama:
    """Stands for LangChain's class, which is told by its name so that the core needs no framework."""

    def __init__(self):
        self.options = []

    def invoke(self, messages, **options):
        self.options.append(options)
        return '{"entities": [{"type": "person", "text": "Ada"}]}'


def test_the_schema_goes_to_models_that_take_one(store):
    ours = ChatOllama()
    result = Extractor(store, ours, answer_format="json").extract(NER)
    assert ours.options == [{"format": json_schema(NER)}]
    assert found(result.extraction) == [("person", "Ada")]
    assert '{"entities": [' in result.prompt.messages[2][1]
    bound = SimpleNamespace(bound=ours, invoke=ours.invoke)  # as model.bind(...) makes it
    Extractor(store, bound, answer_format="json").extract(NER)
    assert ours.options[1] == {"format": json_schema(NER)}
    Extractor(store, ours, answer_format="linear").extract(NER)
    assert ours.options[2] == {}


def test_the_schema_in_openai_words():
    server = type("ChatOpenAI", (type("BaseChatOpenAI", (), {}),), {})()
    seen = {}
    server.invoke = lambda messages, **options: seen.update(options) or "None"
    model = as_chat_model(server)
    assert model.constraints == {"json_schema"}
    model.complete(MessageList([("human", "Hi")]), constraint=Constraint(json_schema={"type": "object"}))
    assert seen["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert as_chat_model(says("")).constraints == frozenset()


# Streams


class Streaming:
    """Says an answer piece by piece; the first calls fail before or after the first piece."""

    def __init__(self, *pieces: str, fail_before: int = 0, fail_after: int = 0):
        self.pieces, self.fail_before, self.fail_after = pieces, fail_before, fail_after
        self.calls = 0

    def invoke(self, messages):
        return "".join(self.pieces)

    def stream(self, messages):
        self.calls += 1
        if self.calls <= self.fail_before:
            raise ConnectionError("refused")
        for piece in self.pieces:
            yield piece
            if self.calls <= self.fail_after:
                raise ConnectionError("reset")

    async def astream(self, messages):
        for piece in self.stream(messages):
            yield piece


PIECES = ("person: A", "da; pla", "ce: Oslo", "; person: Dan")


def growing(results):
    return [found(result.extraction) for result in results]


WHOLE = [("person", "Ada"), ("place", "Oslo"), ("person", "Dan")]


def test_a_stream_grows_by_finished_items(store):
    extractor = Extractor(store, Streaming(*PIECES))
    prompt = extractor.prompt(NER)
    results = list(extractor.stream(prompt))
    assert growing(results) == [WHOLE[:1], WHOLE[:2], WHOLE]
    assert results[-1].extraction == extractor.answer(prompt).extraction


async def test_the_async_stream_is_the_same(store):
    extractor = Extractor(store, Streaming(*PIECES, fail_before=2))
    results = [result async for result in extractor.astream(extractor.prompt(NER))]
    assert growing(results) == [WHOLE[:1], WHOLE[:2], WHOLE]
    assert extractor.model.model.calls == 3


def test_a_long_answer_is_not_read_anew_at_every_item(store, monkeypatch):
    names_ = [f"Name{number}" for number in range(400)]
    query = Query(task="NER", text=" ".join(names_), labels=["person"])
    extractor = Extractor(store, Streaming(*[f"person: {name}; " for name in names_]), k=0)
    read = []
    parse = answers.parse
    monkeypatch.setattr(answers, "parse", lambda answer, *a, **k: read.append(len(answer)) or parse(answer, *a, **k))
    results = growing(extractor.stream(extractor.prompt(query)))
    assert len(results[-1]) == 400
    assert [len(items) for items in results[:5]] == [1, 2, 3, 4, 5]
    assert sum(read) < 15 * read[-1]  # at every item it would be 200 times


def test_a_json_stream_grows_by_finished_objects(store):
    text = '{"entities": [{"type": "person", "text": "Ada"}, {"type": "place", "text": "Oslo"}]}'
    extractor = Extractor(store, Streaming(*text), answer_format="json")
    assert growing(extractor.stream(extractor.prompt(NER))) == [WHOLE[:1], WHOLE[:2], WHOLE[:2]]


def test_a_model_without_stream_gives_one_result(store):
    extractor = Extractor(store, says("person: Ada"))
    assert growing(extractor.stream(extractor.prompt(NER))) == [WHOLE[:1]]


async def test_a_model_without_astream_gives_one_result(store):
    extractor = Extractor(store, says("person: Ada"))
    results = [result async for result in extractor.astream(extractor.prompt(NER))]
    assert growing(results) == [WHOLE[:1]]


def test_an_empty_stream_is_an_empty_answer(store):
    extractor = Extractor(store, Streaming())
    assert growing(extractor.stream(extractor.prompt(NER))) == [[]]


def test_a_stream_is_asked_for_again_only_before_its_first_piece(store):
    before = Extractor(store, Streaming(*PIECES, fail_before=2))
    assert growing(before.stream(before.prompt(NER)))[-1] == WHOLE
    after = Extractor(store, Streaming(*PIECES, fail_after=1))
    with pytest.raises(ChatModelError, match="reset"):
        list(after.stream(after.prompt(NER)))
    assert after.model.model.calls == 1


def test_async_work_does_not_block_the_loop(store):
    async def ticks_while(work):
        ticks = 0
        task = asyncio.ensure_future(work)
        while not task.done():
            await asyncio.sleep(0.002)
            ticks += 1
        return ticks, await task

    def slow(messages):
        time.sleep(0.1)
        return "person: Ada"

    ticks, result = asyncio.run(ticks_while(Extractor(store, slow).aextract(NER)))
    assert ticks > 5
    assert found(result.extraction) == WHOLE[:1]
