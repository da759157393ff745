import json

import pytest
from pydantic import ValidationError

from ruie_components import Example, Query, prompts
from ruie_components.answers import parse
from ruie_components.types import Entity, EventQuery, Extraction, Span, Task

ADA = {"text": "Ada", "type": "person", "start": 0, "end": 3}
ROW = {"task": "NER", "text": "Ada met Bob.", "schema": ["person"], "entities": [ADA]}
TRIGGER = {"text": "met", "start": 4, "end": 7}


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        pytest.param({"text": "  "}, (), "text is empty: an example needs a text", id="empty text"),
        pytest.param({"task": "POS"}, ("task",), "'NER', 'RE', 'ED' or 'EAE'", id="unknown task"),
        pytest.param({"schema": []}, ("schema",), "at least 1 item", id="empty schema"),
        pytest.param({"schema": ["person", " "]}, ("schema", 1), "give every label a name", id="empty label"),
        pytest.param(
            {"schema": ["person", "a\nb"]},
            ("schema", 1),
            "contains a line break; the prompt lists all labels",
            id="line break",
        ),
        pytest.param({"entities": [{**ADA, "end": 4}]}, ("entities", 0), "start 0 and end 4 hold 4", id="length"),
        pytest.param({"entities": [{**ADA, "start": 1, "end": 4}]}, (), "found 'da '", id="offsets are off"),
        pytest.param({"entities": [{**ADA, "start": 90, "end": 93}]}, (), "found ''", id="offsets outside"),
        pytest.param(
            {"entities": [{**ADA, "start": -3, "end": 3}]}, ("entities", 0, "start"), "greater", id="negative"
        ),
        pytest.param({"entities": [{**ADA, "type": "place"}]}, (), "['place'] are annotated but not in", id="label"),
        pytest.param(
            {"entities": [{"text": "Ada", "start": 0, "end": 3}]}, ("entities", 0, "type"), "required", id="type"
        ),
        pytest.param({"text": "Ada met \ud83d"}, ("text",), "'\\ud83d' at 8 is half of a surrogate pair", id="pair"),
        pytest.param({"schema": ["person", "\udfff"]}, ("schema", 1), "errors='replace'", id="surrogate in a label"),
        pytest.param({"dataset": "\ud800"}, ("dataset",), "not a character", id="surrogate in a name"),
        pytest.param(
            {"entities": [{**ADA, "colour": 1}]}, ("entities", 0, "colour"), "not permitted", id="unknown field"
        ),
        pytest.param(
            {"events": [{"type": "x", "trigger": TRIGGER}]}, (), "keeps its annotations in 'entities'", id="field"
        ),
    ],
)
def test_a_wrong_row_names_its_field(change, field, message):
    with pytest.raises(ValidationError) as caught:
        Example.model_validate({**ROW, **change})
    (error,) = caught.value.errors()
    assert error["loc"] == field
    assert message in error["msg"]
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "NER", "text": " \n"}, "nothing to extract from"),
        ({"task": "EAE"}, "needs the event whose arguments to extract"),
        ({"task": "RE", "event": {"type": "x", "trigger": "met"}}, "task RE takes no event"),
        ({"task": "EAE", "event": {"type": "x", "trigger": "met", "start": 5}}, "found 'et '"),
        ({"task": "EAE", "event": {"type": "x", "trigger": "met", "start": -8}}, "greater than or equal to 0"),
        ({"task": "EAE", "event": {"type": "x", "trigger": ""}}, "at least 1 character"),
        ({"task": "EAE", "event": {"type": "x", "trigger": "\ud83d"}}, "as a unicode string"),
        ({"text": "Ada \udc00 met Bob."}, "at 4 is half of a surrogate pair"),
        ({"labels": []}, "at least 1 item"),
    ],
)
def test_a_wrong_query_says_what_to_do(fields, message):
    with pytest.raises(ValidationError, match=message):
        Query.model_validate({"task": "NER", "text": "Ada met Bob.", "labels": ["person"], **fields})


def test_an_eae_example_asks_about_one_event():
    row = {"task": "EAE", "text": "Ada met Bob.", "schema": ["who"], "events": []}
    with pytest.raises(ValidationError, match="exactly one event; this one has 0"):
        Example.model_validate(row)
    row["events"] = [{"type": "meeting", "trigger": TRIGGER, "arguments": [{**TRIGGER, "role": "who"}]}]
    assert Example.model_validate(row).query.event == EventQuery(type="meeting", trigger="met", start=4)


def test_an_extraction_holds_only_spans_of_its_text():
    with pytest.raises(ValidationError, match="found 'Bob'"):
        Extraction(task="NER", text="Bob", labels=["person"], entities=[Entity(**ADA)])


def test_a_repeated_label_counts_once_and_keeps_its_place():
    query = Query(task="NER", text="Ada", labels=["b", "a", " b ", "a"])
    assert query.labels == ("b", "a")


def test_labels_keep_brackets_and_commas():
    labels = ["[x]", "a, b", "c; d", "e: f", "{g}", '"h"', "i\\j", "(k|l)*"]
    query = Query(task="NER", text="Ada", labels=labels)
    assert query.labels == tuple(labels)
    block = prompts.render_query(query)
    assert len(block.splitlines()) == 4
    for label in labels:
        assert [entity.type for entity in parse(f"{label}: Ada", query).entities] == [label]


TEXTS = [
    pytest.param(
        "\U0001f600 Ada \U0001f469\u200d\U0001f4bb met Bo\u0301b", "Bo\u0301b", 14, id="astral, joined, combining"
    ),
    pytest.param("\U00020000\U00020001 Ada", "Ada", 3, id="astral ideographs"),
    pytest.param("\u0e01\u0e33 Ada", "Ada", 3, id="thai"),
    pytest.param("\u05d0\u05d1 \u200fAda", "Ada", 4, id="right to left"),
    pytest.param("a\u0308\u0323 Ada", "Ada", 4, id="two marks"),
]


@pytest.mark.parametrize(("text", "span", "start"), TEXTS)
def test_offsets_are_code_points(text, span, start):
    entity = {"text": span, "type": "person", "start": start, "end": start + len(span)}
    row = {**ROW, "text": text, "entities": [entity]}
    example = Example.model_validate_json(json.dumps(row))
    assert example.to_row() == row
    for answer_format in prompts.AnswerFormat:
        assert parse(prompts.render_answer(example, answer_format), example.query).entities == example.entities


def test_a_pair_of_surrogates_in_a_row_is_one_character():
    row = json.loads('{"task": "NER", "text": "\\ud83d\\ude00 Ada", "schema": ["person"]}')
    assert Example.model_validate(row).text == "\U0001f600 Ada"


def test_types_are_frozen_and_hashable():
    example = Example.model_validate(ROW)
    with pytest.raises(ValidationError, match="frozen"):
        example.text = "x"
    assert len({example.entities[0], Entity(**ADA)}) == 1


def test_the_content_id_is_of_the_content():
    example = Example.model_validate(ROW)
    assert example.content_id == Example.model_validate({**ROW, "id": "7", "dataset": "x"}).content_id
    assert example.content_id != Example.model_validate({**ROW, "schema": ["person", "place"]}).content_id
    assert len(example.content_id) == 32


def test_a_changed_copy_has_its_own_query_and_content_id():
    example = Example.model_validate(ROW)
    before = example.content_id, example.query
    copy = example.model_copy(update={"text": "Ada met Eve."})
    assert copy.query.text == "Ada met Eve."
    assert copy.content_id == Example.model_validate({**ROW, "text": "Ada met Eve."}).content_id
    assert (example.content_id, example.query) == before
    assert example.model_copy(deep=True) == example


def test_tasks_are_known_by_their_names_in_any_case():
    assert Task("ner") is Task("NER") is Query(task="Ner", text="Ada", labels=["person"]).task
    for unknown in ("POS", "", None):
        with pytest.raises(ValueError, match=rf"unknown task {unknown!r}; there are NER, RE, ED, EAE"):
            Task(unknown)


def test_a_span_has_text():
    with pytest.raises(ValidationError, match="at least 1 character"):
        Span(text="", start=0, end=1)
    assert Span(text="Ada", start=0, end=3).offsets == (0, 3)


def test_rows_of_every_task_come_back(read_rows):
    for name in ("NER/mit-movie", "RE/conll04", "ED/CASIE", "EAE/RAMS"):
        for example in read_rows(name, "train", 20):
            assert Example.model_validate(example.to_row()) == example
