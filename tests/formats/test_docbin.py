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
