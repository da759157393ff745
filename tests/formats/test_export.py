"""Examples that are written to other formats: rows of the same text, keys of the metadata."""

import pytest

from ruie_components import Example
from ruie_components.formats import Import, export

TEXT = "Ada slept."
ADA = {"text": "Ada", "type": "person", "start": 0, "end": 3}


def ner(*entities, labels=("person",), **own):
    return Example(task="NER", text=TEXT, labels=list(labels), entities=entities, **own)


def written(path, rows, name):
    notes = export(path, rows, name)
    return notes, [[(entity.type, entity.text) for entity in example.entities] for example in Import([path])]


@pytest.mark.parametrize(
    "name", ["conll", "doccano", "label-studio", "prodigy", "langextract", "gliner", "huggingface", "brat"]
)
def test_rows_without_id_are_not_merged(tmp_path, name):
    path = tmp_path / {"brat": "folder", "label-studio": "a.json"}.get(name, "a.jsonl")
    notes, entities = written(path, [ner(ADA), ner(ADA), ner()], name)
    assert sorted(entities) == [[], [("person", "Ada")], [("person", "Ada")]]
    assert not notes


def test_layers_of_a_text_are_one_document_and_events_keep_their_arguments(tmp_path):
    layers = [ner(ADA, id="a"), ner({**ADA, "type": "author"}, labels=["author"], id="a")]
    assert written(tmp_path / "a.jsonl", layers, "doccano")[1] == [[("person", "Ada"), ("author", "Ada")]]
    event = {"type": "sleep", "trigger": {"text": "slept", "start": 4, "end": 9}}
    role = {"text": "Ada", "role": "who", "start": 0, "end": 3}
    rows = [Example(task="EAE", text=TEXT, labels=["who"], events=[{**event, "arguments": [role]}])] * 2
    rows.append(Example(task="ED", text=TEXT, labels=["sleep"], events=[event]))
    export(tmp_path / "folder", rows, "brat")
    assert len(list((tmp_path / "folder").glob("*.txt"))) == 1


def test_a_repeated_entity_is_written_once(tmp_path):
    notes, entities = written(tmp_path / "a.jsonl", [ner(ADA, ADA)], "doccano")
    assert entities == [[("person", "Ada")]]
    assert notes == {"repeated entities are written once": 1}


@pytest.mark.parametrize("metadata", [{"sentence": "Other", "events": [1], "page": 3}, {"meta": {"a": 1}}, {"meta": 1}])
def test_metadata_does_not_replace_keys_of_ie_instructions(tmp_path, metadata):
    rows = [ner(ADA, metadata=metadata)]
    export(tmp_path / "a.json", rows, "ie-instructions")
    assert list(Import([tmp_path / "a.json"], strict=True)) == rows
