import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel
from pydantic import ValidationError

from ruie_components import Demonstration, Extraction, Rejection, answers, prompts
from ruie_components.extraction import AnswerTruncatedWarning
from ruie_components.langchain import UIEOutputParser, load_chat_model

from ..pool import EXAMPLES, QUERIES, found

NER = QUERIES["NER"]
ANSWER = "person: Ada; place: Oslo; person: Dan"
WHOLE = [("person", "Ada"), ("place", "Oslo"), ("person", "Dan")]


@pytest.fixture
def parser():
    return UIEOutputParser(query=NER)


def model(*answers_: str) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage(answer) for answer in answers_]))


async def test_it_reads_texts_and_messages(parser):
    expected = answers.parse(ANSWER, NER)
    assert parser.parse(ANSWER) == expected
    assert parser.invoke(AIMessage(ANSWER)) == expected
    assert await parser.ainvoke(ANSWER) == expected
    assert await parser.aparse(ANSWER) == expected
    assert found(expected) == WHOLE
    json_answer = '```json\n{"entities": [{"type": "person", "text": "Ada"}]}\n```'
    assert found(parser.invoke(json_answer)) == WHOLE[:1]


def test_a_chain_of_one_query(parser):
    chain = ChatPromptTemplate.from_messages([("human", "{text}")]) | model(ANSWER) | parser
    assert found(chain.invoke({"text": "x"})) == WHOLE
    assert parser.OutputType is Extraction


async def test_a_chain_with_another_query_each_time():
    ask = RunnableLambda(lambda query: prompts.build_prompt(query, SHOWN).messages)
    chain = (
        RunnableParallel(query=RunnableLambda(lambda query: query), answer=ask | load_chat_model("baseline"))
        | UIEOutputParser()
    )
    queries = [NER, NER.model_copy(update={"text": "Cy met Cy."})]
    assert [found(one) for one in chain.batch(queries)] == [
        [("place", "Oslo"), ("person", "Ada"), ("person", "Dan")],
        [("person", "Cy"), ("person", "Cy")],
    ]
    streamed = [found(one) for one in chain.stream(NER)]
    assert streamed == [found(chain.invoke(NER))[:1], found(chain.invoke(NER))[:2], found(chain.invoke(NER))]
    assert [found(one) async for one in chain.astream(NER)] == streamed
    assert found(await chain.ainvoke(NER)) == streamed[-1]


SHOWN = [Demonstration(example=example, score=1.0) for example in EXAMPLES if example.task == "NER"]


def test_a_query_may_be_a_row():
    row = NER.model_dump(by_alias=True)
    assert found(UIEOutputParser().invoke({"query": row, "answer": "person: Ada"})) == WHOLE[:1]


def test_the_query_may_come_after_the_answer_began():
    pieces = [{"answer": "person: Ada; pl"}, {"query": NER}, {"answer": "ace: Oslo"}]
    assert [found(one) for one in UIEOutputParser().transform(iter(pieces))] == [WHOLE[:1], WHOLE[:2]]


async def test_partial_extractions_grow_and_the_last_is_whole(parser):
    def chunks():
        return iter([AIMessageChunk(content=char) for char in ANSWER])

    async def achunks():
        for chunk in chunks():
            yield chunk

    streamed = list(parser.transform(chunks()))
    assert [found(one) for one in streamed] == [WHOLE[:1], WHOLE[:2], WHOLE]
    assert streamed[-1] == parser.parse(ANSWER)
    assert [one async for one in parser.atransform(achunks())] == streamed


def test_of_a_cut_answer_the_finished_items_count(parser):
    cut = AIMessage("person: Ada; place: Os", response_metadata={"finish_reason": "length"})
    with pytest.warns(AnswerTruncatedWarning):
        assert found(parser.invoke(cut)) == WHOLE[:1]
    chunks = [AIMessageChunk(content=cut.content), AIMessageChunk(content="", response_metadata=cut.response_metadata)]
    with pytest.warns(AnswerTruncatedWarning):
        assert found(list(parser.transform(iter(chunks)))[-1]) == WHOLE[:1]
    with pytest.raises(OutputParserException, match="truncated at its token limit"):
        UIEOutputParser(query=NER, strict=True).invoke(cut)


def test_nothing_is_given_before_the_first_finished_item(parser):
    from langchain_core.outputs import Generation

    assert parser.parse_result([Generation(text="person: Ad")], partial=True) is None
    assert found(parser.parse_result([Generation(text="person: Ada; place: Os")], partial=True)) == WHOLE[:1]


def test_an_error_can_be_sent_back_to_the_model():
    parser = UIEOutputParser(query=NER, strict=True)
    with pytest.raises(OutputParserException, match="Mars") as caught:
        parser.parse("place: Mars")
    assert caught.value.llm_output == "place: Mars"
    assert caught.value.send_to_llm is True
    assert "Mars" in caught.value.observation
    assert prompts.default_instruction("NER") in caught.value.observation
    with pytest.raises(OutputParserException):
        parser.invoke(AIMessage("I can't help with that."))


def test_a_chain_retries_with_what_the_error_says():
    parser = UIEOutputParser(query=NER, strict=True)
    chain = (model("place: Mars", ANSWER) | parser).with_retry(
        retry_if_exception_type=(OutputParserException,), wait_exponential_jitter=False
    )
    assert found(chain.invoke("go")) == WHOLE


def test_lenient_by_default(parser):
    rejected = parser.parse("place: Mars; planet: Ada").rejected
    assert [one.reason for one in rejected] == [Rejection.UNGROUNDED, Rejection.UNKNOWN_LABEL]


def test_what_leaked_from_a_demonstration_is_told():
    shown = tuple(SHOWN[:1])
    parser = UIEOutputParser(query=NER, demonstrations=shown)
    assert parser.parse("place: Rome").rejected[0].reason is Rejection.LEAKED
    assert UIEOutputParser().for_query(NER, shown).parse("place: Rome").rejected[0].reason is Rejection.LEAKED


def test_format_instructions(parser):
    assert parser.get_format_instructions() == prompts.default_instruction("NER")
    assert UIEOutputParser(task="RE", answer_format="json").get_format_instructions() == prompts.default_instruction(
        "RE", "json"
    )
    with pytest.raises(ValueError, match="a query or a task"):
        UIEOutputParser().get_format_instructions()


def test_misuse_says_what_to_do(parser):
    with pytest.raises(ValueError, match="this parser has no query"):
        UIEOutputParser().parse(ANSWER)
    with pytest.raises(ValueError, match=r'"query" and "answer"; this one has \[\'query\'\]'):
        parser.invoke({"query": NER})
    with pytest.raises(ValidationError, match="schema"):
        UIEOutputParser(schema=["person"])


def test_tool_calls_in_pieces_are_read_at_the_end(parser):
    def piece(arguments, name=None):
        chunk = {"name": name, "args": arguments, "id": "1", "index": 0, "type": "tool_call_chunk"}
        return AIMessageChunk("", tool_call_chunks=[chunk])

    pieces = [piece('{"type": "person", "te', "extract"), piece('xt": "Ada"}')]
    assert [found(one) for one in parser.transform(iter(pieces))] == [[("person", "Ada")]]
    assert found(parser.invoke(pieces[0] + pieces[1])) == [("person", "Ada")]


async def test_the_answers_of_other_parsers_are_read(parser):
    answer = {"entities": [{"type": "person", "text": "Ada"}, {"type": "place", "text": "Oslo"}]}
    assert found(parser.invoke(answer)) == WHOLE[:2]
    assert found(await parser.ainvoke([answer])) == WHOLE[:2]
    assert found(list(parser.transform(iter([{"entities": []}, answer])))[-1]) == WHOLE[:2]
