"""DocBin files that spaCy wrote: attributes of others, damaged span groups."""

import gc

import pytest

from ruie_components.formats import Import

spacy = pytest.importorskip("spacy")
srsly = pytest.importorskip("srsly")
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


def categorized(**groups):
    doc = spacy.blank("en")(TEXT)
    for name, spans in groups.items():
        doc.spans[name] = [spacy.tokens.Span(doc, start, start + 1, label) for start, label in spans]
    return doc


@pytest.mark.parametrize("attrs", [["LEMMA"], ["ENT_IOB", "ENT_TYPE"]])
@pytest.mark.parametrize("name", ["sc", "names"])
def test_the_only_span_group_of_a_file_without_entities_is_read(tmp_path, attrs, name):
    docs = [
        categorized(**{name: [(0, "person"), (0, "author"), (4, "city")]}),
        categorized(**{name: []}),
        categorized(),
    ]
    spacy.tokens.DocBin(docs=docs, attrs=attrs).to_disk(tmp_path / "a.spacy")
    rows = Import([tmp_path / "a.spacy"], strict=True)
    assert [[(each.text, each.type) for each in row.entities] for row in rows] == [
        [("Ann", "person"), ("Ann", "author"), ("Rome", "city")], [],
    ]  # fmt: skip
    other = {} if name == "sc" else {"spans of group 'names' were read as entities": 3}
    assert rows.report.notes == {"documents without annotations of entities are left out": 1, **other}


def test_of_several_span_groups_the_usual_one_is_read_or_they_are_named(tmp_path):
    spans = [(0, "person")]
    for number, groups in enumerate([{"sc": spans, "b": spans}, {"b": spans, "a": spans}]):
        file = tmp_path / f"{number}.spacy"
        spacy.tokens.DocBin(
            docs=[categorized(**{name: each}) for name, each in groups.items()], attrs=["LEMMA"]
        ).to_disk(file)
    rows = Import([tmp_path / "0.spacy"])
    assert [len(row.entities) for row in rows] == [1]
    assert "spans of group 'b' are left out" in rows.report.notes
    rows = Import([tmp_path / "1.spacy"])
    assert not list(rows)
    assert rows.report.problems == [
        f"{tmp_path / '1.spacy'}: it holds no entities, and several span groups: 'a', 'b'. Save the one to read under "
        f"""the name 'sc': doc.spans["sc"] = doc.spans['a']."""
    ]


def test_span_groups_of_older_versions_are_a_list(tmp_path):
    written = categorized(names=[(0, "person")])
    file = spacy.tokens.DocBin(docs=[written], attrs=["LEMMA"])
    file.span_groups[0] = srsly.msgpack_dumps([written.spans["names"].to_bytes()])
    file.to_disk(tmp_path / "a.spacy")
    assert [[each.text for each in row.entities] for row in Import([tmp_path / "a.spacy"], strict=True)] == [["Ann"]]


def test_another_group_beside_entities_is_left_out(doc, tmp_path):
    doc.spans["names"] = doc.spans.pop("sc")
    spacy.tokens.DocBin(docs=[doc]).to_disk(tmp_path / "a.spacy")
    rows = Import([tmp_path / "a.spacy"])
    assert [[each.text for each in row.entities] for row in rows] == [["Ann"]]
    assert rows.report.notes == {"spans of group 'names' are left out": 1}


def test_a_file_without_entities_says_so(tmp_path):
    spacy.tokens.DocBin(docs=[spacy.blank("en")(TEXT)], attrs=["LEMMA", "POS"]).to_disk(tmp_path / "a.spacy")
    rows = Import([tmp_path / "a.spacy"])
    assert not list(rows)
    assert rows.report.problems[0].startswith(
        f"{tmp_path / 'a.spacy'}: it holds no entities and no span groups. Write it"
    )
