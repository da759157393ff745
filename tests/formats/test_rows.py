"""Rows of Prodigy, Doccano and langextract as projects export them."""

import json

import pytest

from ruie_components.formats import Import, LabelMapping

TEXT = "Ada met Bob, an Ibuprofen  user."
ADA, BOB = {"start": 0, "end": 3, "label": "person"}, {"start": 8, "end": 11, "label": "person"}


@pytest.fixture
def imported(tmp_path):
    def read(*rows):
        path = tmp_path / "a.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        files = Import([path])
        return [[(each.text, each.start) for each in example.entities] for example in files], files.report

    return read


def prodigy(*spans, **more):
    row = {"text": TEXT, "spans": list(spans), "_input_hash": 1, "_view_id": "ner_manual", "_is_binary": False}
    return {**row, "answer": "accept", **more}


@pytest.mark.parametrize(
    ("row", "note"),
    [
        (prodigy(_view_id="choice", accept=["x"]), "rows of the interface 'choice', which has no spans, are left out"),
        (prodigy(ADA, _is_binary=True), "rows with one span to accept or reject (_is_binary) are left out"),
        (prodigy(BOB, _annotator_id="b"), "of several annotators of a text the first was read"),
    ],
    ids=["choice", "binary", "annotators"],
)
def test_rows_of_prodigy_that_are_no_complete_annotation(imported, row, note):
    read, report = imported(prodigy(ADA, _annotator_id="a"), row, prodigy(_annotator_id="a"))
    assert read == [[("Ada", 0)], []]
    assert (report.notes, report.problems) == ({note: 1}, [])


def test_another_annotator_may_annotate_relations(imported):
    row = prodigy(_annotator_id="b", _view_id="relations", relations=[])
    assert imported(prodigy(ADA, _annotator_id="a"), row)[1].rows == 2


def test_slots_of_doccano(imported):
    read, report = imported(
        {"id": 1, "text": TEXT, "cats": ["greeting"], "entities": []},
        {"id": 2, "text": TEXT, "cats": ["greeting"], "entities": [[0, 3, "person"]]},
        {"id": 3, "text": TEXT, "cats": ["greeting"], "entities": [[0, 99, "person"]]},
    )
    assert read == [[], [("Ada", 0)]]
    assert "line 3: entities[0]: the span 0:99 is empty or outside the text" in report.problems[0]


def test_relations_of_doccano_are_recognized_by_empty_rows(imported):
    empty = {"id": 1, "text": TEXT, "Comments": [], "entities": [], "relations": []}
    entity = {"id": 1, "label": "person", "start_offset": 0, "end_offset": 3}
    assert imported(*[empty] * 5, {**empty, "entities": [entity]})[0] == [[]] * 5 + [[("Ada", 0)]]


def annotation(own, label, start, end, user=1, **more):
    return {"id": own, "label": label, "start_offset": start, "end_offset": end, "user": user, **more}


NUMBERED = [
    {"id": 1, "text": TEXT, "annotations": [], "meta": {"page": 3}, "annotation_approver": None},
    {"id": 2, "text": TEXT, "annotations": [annotation(1, 2, 0, 3), annotation(2, 5, 8, 11)], "meta": {}},
]


def test_old_annotations_of_doccano_with_the_names_of_their_labels(imported):
    named = annotation(3, 2, 0, 3, label_name="person", user_name="ada")
    again = annotation(4, 2, 0, 3, user=2, label_name="person")
    other = annotation(5, "city", 8, 11)
    read, report = imported(NUMBERED[0], {"id": 2, "text": TEXT, "annotations": [named, again, other]})
    assert read == [[], [("Ada", 0), ("Bob", 8)]]
    assert report.labels == {"NER": ["city", "person"]}
    assert report.notes == {"annotations of several people of one text were read together": 1}


def test_numbers_of_labels_of_doccano_are_named_by_its_label_file(imported, tmp_path):
    read, report = imported(*NUMBERED)
    assert (read, report.labels) == ([[], [("Ada", 0), ("Bob", 8)]], {"NER": ["2", "5"]})
    ((note, count),) = report.notes.items()
    assert "put the project's label file beside the export as label_config.json, or name the numbers by a map" in note
    assert count == 2
    labels = [{"id": 2, "text": "person", "prefix_key": None}, {"id": 5, "text": "city"}, {"text": "no number"}]
    (tmp_path / "label_config.json").write_text(json.dumps(labels), "utf-8")
    _, report = imported(*NUMBERED, {"id": 3, "text": TEXT, "label": [[0, 3, 5]]})
    assert (report.labels, report.notes) == ({"NER": ["city", "person"]}, {})
    files = Import([tmp_path / "a.jsonl"], mapping=LabelMapping(rename={"city": "place"}))
    assert {each.labels for each in files} == {("place", "person")}
    assert files.report.notes == {}


def test_a_damaged_label_file_of_doccano_is_named(imported, tmp_path):
    (tmp_path / "label_config.json").write_text("[{", "utf-8")
    read, report = imported(*NUMBERED)
    assert read == []
    assert report.problems[0].startswith(f"{tmp_path / 'label_config.json'}, line 1: ")


def test_the_oldest_rows_of_doccano_have_other_names_of_ids(imported, tmp_path):
    empty = {"doc_id": 7, "text": TEXT, "entities": []}
    assert imported(empty)[1].rows == 1
    read, report = imported(empty, {"doc_id": 8, "text": TEXT, "entities": [[0, 3, "p"]]})
    assert (read, report.notes) == ([[], [("Ada", 0)]], {})
    assert [each.id for each in Import([tmp_path / "a.jsonl"])] == [7, 8]


def extraction(text, start=None, end=None, status=None):
    interval = None if start is None else {"start_pos": start, "end_pos": end}
    own = {"attributes": {"seen": text}, "alignment_status": status}
    return {"extraction_class": "thing", "extraction_text": text, "char_interval": interval, **own}


def test_aligned_extractions_are_the_text_at_their_interval(imported):
    extractions = [
        extraction("ibuprofen user", 16, 31, "match_fuzzy"),
        extraction("Ibuprofen tablets", 16, 25, "match_lesser"),
        extraction("headache"),
        extraction("Bob"),
        extraction("Ada", 5, 8),
    ]
    read, report = imported({"text": TEXT, "extractions": extractions})
    assert read == [[("Ibuprofen  user", 16), ("Ibuprofen", 16), ("Bob", 8), ("Ada", 0)]]
    assert report.notes == {
        "extractions whose text differs are the text at their interval": 2,
        "extractions that are not in the text are left out": 1,
    }
    (wrong,) = imported({"text": TEXT, "extractions": [extraction("x", 5, 99, "match_fuzzy")]})[1].problems
    assert "extractions[0].char_interval: the span 5:99 is empty or outside" in wrong


def test_attributes_belong_to_the_extractions_that_are_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": TEXT, "extractions": [extraction("headache"), extraction("Bob")]}), "utf-8")
    (example,) = Import([path])
    assert example.metadata == {"attributes": {"0": {"seen": "Bob"}}}
