"""Label Studio's exports as projects give them: the text's key, several texts, addresses, JSON-MIN, other results."""

import csv
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


WINDOWS = "Ada met\r\nBob and 😀\r\nEva and a Bob."
SHOWN = ("Ada", "Bob", "Eva", "Bob")


def counted(text, *, lines=False, wide=False):
    """Regions with the offsets of a front end: a line end may be one character, and an emoji two units."""
    regions, at = [], 0
    for number, shown in enumerate(SHOWN):
        at = text.index(shown, at)
        before = text[:at].replace("\r\n", "\n") if lines else text[:at]
        start = len(before.encode("utf-16-le")) // 2 if wide else len(before)
        regions.append(region(start, shown, str(number)))
        at += len(shown)
    return regions


LINES = r"offsets that count \r\n as one character were converted"
UNITS = "offsets in UTF-16 units were converted"


@pytest.mark.parametrize(
    ("widths", "notes"),
    [
        ({}, {}),
        ({"wide": True}, {UNITS: 2}),
        ({"lines": True}, {LINES: 3}),
        ({"wide": True, "lines": True}, {UNITS: 3, LINES: 3}),
    ],
    ids=["characters", "UTF-16", "lines", "both"],
)
def test_line_ends_and_emoji_are_counted_as_the_regions_show(path, widths, notes):
    read, report = imported(path, task(*counted(WINDOWS, **widths), text=WINDOWS))
    assert read == [(WINDOWS, [("Ada", 0), ("Bob", 9), ("Eva", 20), ("Bob", 30)])]
    assert (report.notes, report.problems) == (notes, [])


def test_a_span_that_is_elsewhere_too_is_counted_like_the_others(path):
    text = "Hi\r\naaaa, Bob"
    regions = [region(4, "aa"), region(9, "Bob", "b")]  # the text has "aa" at 4, too, but "Bob" at 10
    read, _ = imported(path, task(*regions, text=text))
    assert read == [(text, [("aa", 5), ("Bob", 10)])]


def test_regions_without_their_text_are_counted_like_the_others_or_named(path):
    silent = region(8, None, "b")
    silent["value"]["end"] = 11
    read, report = imported(path, task(*counted(WINDOWS, lines=True), silent, text=WINDOWS))
    assert read[0][1][-1] == ("Bob", 9)
    assert list(report.notes) == [LINES]
    read, report = imported(path, task(region(0, "Ada"), silent, text=WINDOWS))
    assert read[0][1][-1] == ("\nBo", 8)
    (note,) = report.notes
    assert r"regions without their text, after emoji or \r\n, keep their offsets, which may be shifted" in note
    assert not imported(path, task(region(0, "Ada"), silent, text=WINDOWS.replace("\r", "")))[1].notes


def test_a_region_that_no_way_of_counting_finds_is_named_with_its_task(path):
    read, report = imported(path, task(region(0, "Ada"), region(9, "Bob", "b"), region(17, "Eva", "c"), text=WINDOWS))
    assert read == []
    assert report.problems == [
        f"{path}, line 1: annotations[0].result[2].value: found '😀\\r\\n' at 17:20, but the region's text is 'Eva'. "
        f"Label the span again in Label Studio (task 1), and export again."
    ]


@pytest.mark.parametrize(("ending", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_tables(tmp_path, ending, delimiter):
    text = 'Ada met\r\nBob, "Bo".'
    own = {"annotator": "a@b.example", "annotation_id": 4, "created_at": "2024", "updated_at": "2024", "lead_time": 1.2}
    regions = json.dumps([region(0, "Ada")["value"], region(9, "Bob")["value"]])
    rows = [
        {**own, "id": 1, "label": regions, "page": 3, "text": text, "was_cancelled": "False"},
        {**own, "id": 1, "label": "", "text": text, "was_cancelled": "False"},
        {**own, "id": 2, "label": "", "text": "Nobody.", "was_cancelled": "False"},
        {**own, "id": 3, "label": "", "text": "[Skipped]", "was_cancelled": "True"},
        {**own, "id": 4, "label": regions, "text": "Eva met Bob.", "was_cancelled": "False"},
    ]
    path = tmp_path / f"a.{ending}"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, sorted(rows[0]), quoting=csv.QUOTE_NONNUMERIC, delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
    files = Import([path], tasks=["NER"])
    first, second = files
    assert files.report.formats == {str(path): "label-studio"}
    assert [(each.text, each.start) for each in first.entities] == [("Ada", 0), ("Bob", 9)]
    assert (first.id, first.text, first.metadata) == (1, text, {"page": "3"})
    assert (second.id, second.text, second.entities) == (2, "Nobody.", ())
    assert files.report.notes == {
        "of several annotations of a task the first was read": 1,
        "tasks without an annotation, or with a cancelled one, are left out": 1,
    }
    assert files.report.problems == [
        f"{path}, line 8: label[0].value: found 'Eva' at 0:3, but the region's text is 'Ada'. Label the span again in "
        f"Label Studio (task 4), and export again."
    ]
