"""DocBin files that spaCy wrote: attributes of others, damaged span groups."""

import gc

import pytest

from ruie_components.formats import Import

spacy = pytest.importorskip("spacy")
TEXT = "Ann met Bob in Rome."


@pytest.fixture
def doc():
    doc = spacy.blank("en")(TEXT)
    doc.set_ents([spacy.tokens.Span(doc, 0, 1, "person")])
    doc.spans["sc"] = [spacy.tokens.Span(doc, 2, 3, "person")]
    return doc


def test_extension_attributes_do_not_stop_a_document(doc, tmp_path):
    spacy.tokens.Doc.set_extension("ruie_source", default=None, force=True)
    doc._.ruie_source = "wiki"
    doc.user_data["pages"] = [1, 2]
    spacy.tokens.DocBin(docs=[doc], store_user_data=True).to_disk(tmp_path / "a.spacy")
    rows = Import([tmp_path / "a.spacy"])
    assert [(row.text, [each.text for each in row.entities]) for row in rows] == [(TEXT, ["Ann", "Bob"])]
    assert not rows.report.problems


def test_a_damaged_span_group_is_reported_and_garbage_is_still_collected(doc, tmp_path):
    file = spacy.tokens.DocBin(docs=[doc, doc])
    file.span_groups[1] = file.span_groups[1][:-3]
    file.to_disk(tmp_path / "a.spacy")
    rows = Import([tmp_path / "a.spacy"])
    assert len(list(rows)) == 1
    (problem,) = rows.report.problems
    assert "a.spacy, document 2: can't be read" in problem
    assert gc.isenabled()


def test_documents_that_were_never_annotated_are_left_out(doc, tmp_path):
    blank = spacy.blank("en")
    empty, categorized = blank("Nobody annotated Bob."), blank("Nobody is here.")
    empty.set_ents([])
    categorized.spans["sc"] = []
    docs = [doc, blank("Nobody read Bob."), empty, categorized]
    spacy.tokens.DocBin(docs=docs).to_disk(tmp_path / "a.spacy")
    rows = Import([tmp_path / "a.spacy"])
    assert [row.text for row in rows] == [TEXT, empty.text, categorized.text]
    assert rows.report.notes == {"documents without annotations of entities are left out": 1}


def test_a_file_without_entities_says_so(doc, tmp_path):
    spacy.tokens.DocBin(docs=[doc], attrs=["LEMMA", "POS"]).to_disk(tmp_path / "a.spacy")
    rows = Import([tmp_path / "a.spacy"])
    assert not list(rows)
    assert rows.report.problems[0].startswith(f"{tmp_path / 'a.spacy'}: it holds no entities. Write it with")
