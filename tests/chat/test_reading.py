"""What models of all providers return, as one Response."""

from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from ruie_components import Query, answers
from ruie_components.chat import Response
from ruie_components.chat.reading import is_truncated, read_response


class FinishReason(Enum):
    STOP = 1
    MAX_TOKENS = 2


@pytest.mark.parametrize(
    "metadata",
    [
        {"done_reason": "length"},
        {"finish_reason": "length"},
        {"finish_reason": "MAX_TOKENS"},
        {"finish_reason": FinishReason.MAX_TOKENS},
        {"finish_reason": "FinishReason.MAX_TOKENS"},
        {"finish_reason": "model_length"},
        {"finish_reason": {"type": "length", "length": 16}},
        {"finishReason": "MAX_TOKENS"},
        {"stop_reason": "max_tokens"},
        {"stop_reason": "model_context_window_exceeded"},
        {"stopReason": "max_tokens"},
        {"completionReason": "LENGTH"},
        {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
        {"choices": [{"finish_reason": "length"}]},
        {"candidates": [{"finishReason": "MAX_TOKENS"}]},
        {"stopped_limit": True},
        {"stop_type": "limit"},
    ],
    ids=str,
)
def test_truncated_in_the_spelling_of_every_provider(metadata):
    assert is_truncated(metadata)
    assert read_response(AIMessage("city: Gr", response_metadata=metadata)).truncated


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"done_reason": "stop"},
        {"finish_reason": "STOP"},
        {"finish_reason": FinishReason.STOP},
        {"finish_reason": None},
        {"stop_reason": "end_turn", "stop_sequence": None},
        {"stopReason": "tool_use"},
        {"status": "completed", "incomplete_details": None},
        {"max_tokens": 100, "length": 3, "usage": {"max_tokens": 5}},
        {"stopped_limit": False},
        "length",
        7,
    ],
    ids=str,
)
def test_not_truncated(metadata):
    assert not is_truncated(metadata)


QUERY = Query(task="NER", text="Mira Holt in Graz.", labels=["person", "city"])


class Entity(BaseModel):
    type: str
    text: str


class Answer(BaseModel):
    entities: list[Entity]


@dataclass
class Plain:
    entities: list[dict]


ITEMS = [{"type": "person", "text": "Mira Holt"}, {"type": "city", "text": "Graz"}]


def call(name, **arguments):
    return {"name": name, "args": arguments, "id": "1", "type": "tool_call"}


@pytest.mark.parametrize(
    "answer",
    [
        "person: Mira Holt; city: Graz",
        Response("person: Mira Holt; city: Graz"),
        {"entities": ITEMS},
        Answer(entities=ITEMS),
        Plain(ITEMS),
        ITEMS,
        {"raw": AIMessage(""), "parsed": Answer(entities=ITEMS), "parsing_error": None},
        {"raw": AIMessage("person: Mira Holt; city: Graz"), "parsed": None, "parsing_error": ValueError()},
        AIMessage("", tool_calls=[call("Answer", entities=ITEMS)]),
        AIMessage("", tool_calls=[call("person", text="Mira Holt"), call("city", text="Graz")]),
        AIMessage("", tool_calls=[call("Entity", **item) for item in ITEMS]),
        AIMessage([{"type": "text", "text": "person: Mira Holt; city: Graz"}]),
        SimpleNamespace(content="person: Mira Holt; city: Graz"),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_an_answer_in_any_shape(answer):
    extraction = answers.parse(read_response(answer).text, QUERY)
    assert [(entity.type, entity.text) for entity in extraction.entities] == [("person", "Mira Holt"), ("city", "Graz")]
    assert extraction.rejected == ()


def test_the_counts_of_a_raw_answer_stay():
    usage = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    raw = AIMessage("", usage_metadata=usage, response_metadata={"finish_reason": "length"})
    response = read_response({"raw": raw, "parsed": {"entities": []}, "parsing_error": None})
    assert (response.input_tokens, response.output_tokens, response.truncated) == (7, 3, True)


@pytest.mark.parametrize("answer", [None, 7, SimpleNamespace(content=["blocks"])], ids=repr)
def test_what_has_no_text_is_an_error(answer):
    with pytest.raises(TypeError, match=r"neither \.text nor \.content"):
        read_response(answer)


def test_pieces_add_up():
    whole = Response("a", 3) + Response("b", None, 1) + Response("", None, 1, truncated=True)
    assert whole == Response("ab", 3, 2, truncated=True)
    assert Response("a") + Response("b") == Response("ab")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (AIMessage("", additional_kwargs={"refusal": "I can't do that."}), "[refused] I can't do that."),
        (AIMessage([{"type": "refusal", "refusal": "No."}]), "[refused] No."),
        (AIMessage("", response_metadata={"finish_reason": "content_filter"}), "[content_filter]"),
        (AIMessage("", response_metadata={"finish_reason": "SAFETY"}), "[SAFETY]"),
        (AIMessage("", response_metadata={"finish_reason": "stop"}), ""),
        (AIMessage("None", response_metadata={"stop_reason": "refusal"}), "None"),
    ],
)
def test_a_refusal_is_quoted(message, text):
    assert read_response(message).text == text
    extraction = answers.parse(read_response(message).text, Query(task="NER", text="Ada", labels=["person"]))
    assert [part.answer for part in extraction.rejected] == ([] if text == "None" else [text])
