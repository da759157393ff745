"""GLiNER's training data as its documentation shows it, and rows that are wrong."""

import json

import pytest

from ruie_components import Example
from ruie_components.formats import Import, export

TOKENS = ["John", "Smith", "works", "at", "Microsoft", "in", "Seattle", "."]
ENTITIES = [[0, 1, "person"], [4, 4, "organization"], [4, 6, "office"], [6, 6, "location"]]
RELATIONS = [[0, 1, "works at"], [1, 3, "located in"]]


@pytest.fixture
def imported(tmp_path):
    def read(*rows, **options):
        path = tmp_path / "a.json"
        path.write_text(json.dumps(rows), "utf-8")
        files = Import([path], **options)
        return list(files), files.report

    return read


def test_the_last_token_belongs_to_an_entity_and_entities_may_overlap(imported):
    row = {"tokenized_text": TOKENS, "ner": ENTITIES, "relations": RELATIONS, "ner_negatives": ["money"], "page": 3}
    (entities, relations), report = imported(row, strict=True)
    assert set(report.formats.values()) == {"gliner"}
    assert [(each.text, each.type, each.start) for each in entities.entities] == [
        ("John Smith", "person", 0),
        ("Microsoft", "organization", 20),
        ("Microsoft in Seattle", "office", 20),
        ("Seattle", "location", 33),
    ]
    assert [(each.head.text, each.type, each.tail.text) for each in relations.relations] == [
        ("John Smith", "works at", "Microsoft"),
        ("Microsoft", "located in", "Seattle"),
    ]
    assert entities.metadata == {"page": 3}


def test_labels_of_a_row_belong_to_the_schema(imported):
    rows = [
        {"tokenized_text": ["Ada"], "ner": [], "ner_labels": ["person", "city"]},
        {"tokenized_text": ["Bob"], "ner": []},
    ]
    examples, _ = imported(*rows, strict=True)
    assert {example.labels for example in examples} == {("city", "person")}


def test_tokens_of_white_space_count_but_are_not_in_the_text(imported):
    tokens = [" ", "北", "京", "\n", "ok", " now", ""]
    spans = [[0, 2, "city"], [1, 3, "city"], [3, 4, "word"], [5, 6, "time"]]
    (example,), _ = imported({"tokenized_text": tokens, "ner": spans}, strict=True)
    assert example.text == "北京 ok  now"
    assert [each.text for each in example.entities] == ["北京", "北京", "ok", " now"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"ner": [[0, 8, "p"]]}, "ner[0]: expected indices of the 8 tokens, got 8"),
        ({"ner": [[1, 0, "p"]]}, "ner[0]: the first token 1 comes after the last one 0"),
        ({"ner": [[0, "p"]]}, "ner[0]: expected [index, index, label], got [0, 'p']"),
        ({"ner": [[0, 1, 3]]}, "ner[0]: expected a label, got 3"),
        ({"ner": [[0, True, "p"]]}, "ner[0]: expected indices of the 8 tokens, got True"),
        ({"ner": ENTITIES, "relations": [[0, 4, "p"]]}, "relations[0]: expected indices of the 4 entities, got 4"),
        ({"tokenized_text": "John", "ner": []}, "tokenized_text: expected a list, got 'John'"),
        ({"tokenized_text": [" "], "ner": []}, "tokenized_text: expected words"),
        ({"tokenized_text": ["a", " "], "ner": [[1, 1, "p"]]}, "ner[0]: the tokens 1 to 1 are white space"),
    ],
)
def test_a_wrong_row_is_named(imported, tmp_path, row, message):
    _, report = imported({"tokenized_text": TOKENS, **row})
    assert report.problems == [f"{tmp_path / 'a.json'}, line 1: {message}"]


def test_words_are_cut_where_entities_begin_and_end(tmp_path):
    entities = [{"text": "Rome", "type": "city", "start": 11, "end": 15}]
    example = Example(task="NER", text="Ada is in (Rome).", labels=["city"], entities=entities)
    notes = export(tmp_path / "a.json", [example], "gliner")
    (row,) = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert row == {"tokenized_text": ["Ada", "is", "in", "(", "Rome", ")."], "ner": [[4, 4, "city"]]}
    assert notes == {"white space between tokens becomes one space": 1}


def test_relations_between_spans_that_are_not_entities_are_named(tmp_path):
    sides = {"head": {"text": "Ada", "start": 0, "end": 3}, "tail": {"text": "Bob", "start": 8, "end": 11}}
    example = Example(task="RE", text="Ada met Bob", labels=["met"], relations=[{"type": "met", **sides}])
    notes = export(tmp_path / "a.json", [example], "gliner")
    assert notes == {"relations between spans that are not entities are left out": 1}
