"""Label Studio's exports as projects give them: the text's key, several texts, addresses, JSON-MIN, other results."""

import json

import pytest

from ruie_components.formats import Import, guess_format

TEXT = "Ada met Bob."
LONG = "https://example.org/reviews/2024/01/01/a-long-address-of-a-short-review.html"


def region(start, shown, own="a", **more):
    value = {"start": start, "end": start + len(shown or "x"), "labels": ["person"]}
    value |= {} if shown is None else {"text": shown}
    return {"id": own, "from_name": "label", "to_name": "text", "type": "labels", "value": value, **more}


def task(*results, **data):
    return {"id": 1, "data": data or {"text": TEXT}, "annotations": [{"result": list(results)}]}


def imported(path, *rows):
    path.write_text(json.dumps(rows), "utf-8")
    files = Import([path], tasks=["NER"])
    return [(each.text, [(one.text, one.start) for one in each.entities]) for each in files], files.report


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.json"


def test_the_address_of_a_text_is_not_the_text(path):
    address = "/data/upload/1/06c9a425-a.txt"
    read, report = imported(path, task(region(0, None), text=address), task(text=LONG), task(region(0, "Ada")))
    assert read == [(TEXT, [("Ada", 0)])]
    assert f"data.text: expected a text, got its address '{address}'; the export does not hold" in report.problems[0]
    assert report.skipped == 2
    read, _ = imported(path, task(region(8, "example"), text=LONG))  # a text that people labelled
    assert read == [(LONG, [("example", 8)])]


def test_the_key_of_the_text_is_that_which_regions_fit(path):
    rows = [
        task(review="Ada slept.", url=LONG, title="A review of some length"),
        task(region(0, "Ada"), review="Ada slept.", url=LONG, title="A review of some length"),
        task(region(0, None), review="Ada.", url=LONG, title="A review of some length"),
    ]
    read, report = imported(path, *rows)
    assert read == [("Ada slept.", []), ("Ada slept.", [("Ada", 0)]), ("Ada.", [("A", 0)])]
    assert not report.problems


def test_of_regions_in_two_texts_those_of_one_are_read(path):
    title, body = region(0, "Eva", to_name="title"), region(0, "Ada", "b", to_name="body")
    relation = {"type": "relation", "from_id": "a", "to_id": "b", "labels": ["knows"]}
    rows = [
        task(title, body, region(8, "Bob", "c", to_name="body"), relation, title="Eva and", body=TEXT),
        task(title, title="Eva and", text=TEXT),
        task(title, body, title="Eva and", text=TEXT),  # the names are not keys
    ]
    read, report = imported(path, *rows)
    assert read == [(TEXT, [("Ada", 0), ("Bob", 8)]), ("Eva and", [("Eva", 0)]), (TEXT, [("Ada", 0)])]
    assert report.notes == {
        "regions in another text of the task are left out": 2,
        "relations to results that are left out are left out too": 1,
    }


@pytest.mark.parametrize("kind", ["hypertextlabels", "choices"])
def test_a_task_with_results_of_other_types_only_is_no_text_without_entities(path, kind):
    other = {"id": "b", "type": kind, "value": {"text": "Bob", kind: ["person"]}}
    relation = {"type": "relation", "from_id": "a", "to_id": "b", "labels": ["knows"]}
    read, report = imported(path, task(other), task(), task(region(0, "Ada"), other, relation))
    assert read == [(TEXT, []), (TEXT, [("Ada", 0)])]
    assert report.notes == {
        f"tasks that have no regions of type 'labels' but {kind} are left out": 1,
        f"results of type {kind!r} are left out": 1,
        "relations to results that are left out are left out too": 1,
    }


def test_a_relation_in_both_directions(path):
    relation = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "bi", "labels": ["knows"]}
    path.write_text(json.dumps([task(region(0, "Ada"), region(8, "Bob", "b"), relation)]), "utf-8")
    (example,) = Import([path], tasks=["RE"])
    assert [(each.head.text, each.tail.text) for each in example.relations] == [("Ada", "Bob"), ("Bob", "Ada")]


@pytest.mark.parametrize(
    ("text", "shown", "length"),
    [("Ada\nLee met", "AdaLee", 7), ("Ada\nLee met", "Ada\\nLee", 7), ("Ada\u00a0Lee met", "Ada Lee", 7)],
)
def test_a_region_that_differs_in_white_space_keeps_its_offsets(path, text, shown, length):
    one = region(0, shown)
    one["value"]["end"] = length
    read, report = imported(path, task(one, text=text))
    assert read == [(text, [(text[:length], 0)])]
    assert report.notes == {"regions whose text differs in white space keep their offsets": 1}


def test_json_min(path):
    own = {"annotator": 1, "annotation_id": 4, "created_at": "2024", "updated_at": "2024", "lead_time": 1.2}
    spans = [region(0, "Ada")["value"]]
    other = [{"start": "/p[1]", "end": "/p[1]", "text": "Bob", "hypertextlabels": ["person"]}]
    rows = [
        {"ner": TEXT, "page": 3, "id": 1, "label": spans, **own},
        {"ner": TEXT, "id": 1, "label": [], **own, "annotator": 2},
        {"ner": "Nobody.", "id": 2, **own},
        {"ner": "Bob.", "id": 3, "label": other, **own},
    ]
    read, report = imported(path, *rows)
    assert guess_format(path).name == "label-studio"
    assert read == [(TEXT, [("Ada", 0)]), ("Nobody.", [])]
    assert report.notes == {
        "of several annotations of a task the first was read": 1,
        "tasks that have no regions of type 'labels' but hypertextlabels are left out": 1,
    }
    first, _ = Import([path], tasks=["NER"])
    assert (first.id, first.metadata) == (1, {"page": 3})
