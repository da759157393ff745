import pytest
from pydantic import ValidationError

from ruie_components import Example, Query
from ruie_components.extraction.resume import ResumeFile

ROW = {"task": "NER", "text": "Ada slept.", "schema": ["person"]}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"id": 7},
        {"id": "7"},
        {"source": "diary"},
        {"tags": ["a", {"b": [1, 2.5, None, True]}], "score": 0.1},
        {"id": 0, "metadata": {"text": "a key that a row has itself"}, "page": 3},
    ],
)
def test_a_row_comes_back_with_its_id_and_its_other_keys(more):
    example = Example.model_validate(ROW | more)
    assert example.to_row() == ROW | more
    assert Example.model_validate(example.to_row()) == example
    assert Example.model_validate_json(example.model_dump_json(by_alias=True, exclude_defaults=True)) == example
    assert example.content_id == Example.model_validate(ROW).content_id
    assert isinstance(hash(example), int)
    query = example.query
    assert (query.id, query.metadata) == (example.id, example.metadata)


def test_an_integer_id_is_not_the_string():
    assert Example.model_validate(ROW | {"id": 7}) != Example.model_validate(ROW | {"id": "7"})


def test_keys_of_metadata_come_back_as_keys_of_the_row():
    example = Example.model_validate(ROW | {"metadata": {"source": "diary"}})
    assert example == Example.model_validate(ROW | {"source": "diary"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"task": "NER", "txt": "Ada", "schema": ["person"]}, "unknown key 'txt'; did you mean 'text'?"),
        ({"task": "NER", "text": "Ada", "shema": ["person"]}, "unknown key 'shema'; did you mean 'schema'?"),
        ({"Task": "NER", "text": "Ada", "schema": ["person"]}, "unknown key 'Task'; did you mean 'task'?"),
        (ROW | {"entitys": []}, "unknown key 'entitys'; did you mean 'entities'?"),
        (ROW | {"task": "RE", "relation": []}, "unknown key 'relation'; did you mean 'relations'?"),
        (ROW | {"source": "a", "metadata": {"source": "b"}}, "key 'source' is in the row and in its metadata"),
        (ROW | {"score": float("nan")}, "metadata\n.*can't be written as JSON in UTF-8"),
        (ROW | {"source": "\ud800"}, "metadata\n.*can't be written as JSON in UTF-8"),
        (ROW | {"source": {1, 2}}, "metadata"),
        (ROW | {"id": True}, "id"),
        (ROW | {"id": 1.5}, "id"),
    ],
)
def test_a_misspelt_key_or_a_value_that_would_be_lost_is_an_error(row, message):
    with pytest.raises(ValidationError, match=message):
        Example.model_validate(row)


def test_queries_that_ask_for_the_same_are_equal(tmp_path):
    one = Query(task="NER", text="Ada slept.", labels=["person"], id=1, metadata={"source": "diary"})
    other = Query(task="NER", text="Ada slept.", labels=["person"])
    assert one == other
    assert len({one, other}) == 1
    assert one.to_json() == other.to_json()
    assert one != Query(task="NER", text="Ada slept.", labels=["place"])
    assert one != "Ada slept."
    file = ResumeFile(None, settings={}, get_examples=lambda _: [], write_prompt=lambda *_: None)
    assert file._key(one) == file._key(other)
