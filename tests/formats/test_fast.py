"""The plain way gives what pydantic gives, or leaves the row to it."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ruie_components import Example
from ruie_components.formats.fast import entity_example

ROW = {"id": "a", "task": "NER", "text": "Ada met Zoë.", "schema": ["person", "city"]}
ADA = {"text": "Ada", "type": "person", "start": 0, "end": 3}


def test_a_plain_row_is_built_as_pydantic_builds_it():
    row = ROW | {"entities": [ADA, {"text": "Zoë", "type": "person", "start": 8, "end": 11}], "dataset": "d"}
    plain = entity_example(row)
    checked = Example.model_validate(row)
    assert plain == checked
    assert (plain.to_row(), plain.content_id, hash(plain)) == (checked.to_row(), checked.content_id, hash(checked))
    assert plain.model_dump_json() == checked.model_dump_json()
    assert plain.model_copy(update={"id": "b"}) == checked.model_copy(update={"id": "b"})
    assert plain.query == checked.query


values = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 14), st.floats(), st.text(max_size=3), st.just("Ada"), st.just("\ud800"),
    st.just(" person"), st.just("person\n"), st.lists(st.sampled_from(["person", "x", 3]), max_size=2), st.just({}),
)  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # other work on the machine
@given(where=st.sampled_from([*ROW, "entities", "other", *(f"entity {key}" for key in [*ADA, "role"])]), value=values)
def test_no_row_passes_that_pydantic_refuses_or_changes(where, value):
    row = json.loads(json.dumps(ROW | {"entities": [ADA]}))
    place, _, key = where.partition(" ")
    if key:
        row["entities"][0][key] = value
    else:
        row[place] = value
    plain = entity_example(row)
    if plain is not None:
        assert plain == Example.model_validate(row)


@pytest.mark.parametrize("schema", [["person", "person"], [" person"], [], ["a\nb"], [3], [["person"]], "person"])
def test_labels_that_are_not_plain_are_left_to_pydantic(schema):
    assert entity_example(ROW | {"schema": schema}) is None
    if schema not in (["person", "person"], [" person"]):
        with pytest.raises(ValidationError):
            Example.model_validate(ROW | {"schema": schema})
