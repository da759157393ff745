"""Results as rows, tables and short texts."""

import csv
import io
import json

from ruie_components import EventQuery, Example, Extractor, Query
from ruie_components.extraction.results import ExtractionResult
from ruie_components.formats.table import COLUMNS
from ruie_components.store import DemonstrationStore

from ..pool import EXAMPLES, QUERIES

TEXT = "Ada <b>sold</b> it to Bob in Rome."
ANSWERS = {
    "NER": ("person: Ada; person: Bob", ["person"], None),
    "RE": ("sold to: Ada, Bob", ["sold to"], None),
    "ED": ("sale: sold", ["sale"], None),
    "EAE": ("seller: Ada; place: Rome", ["seller", "place"], EventQuery(type="sale", trigger="sold")),
}
ROWS = {
    "NER": [(0, "person", "entity", "Ada"), (1, "person", "entity", "Bob")],
    "RE": [(0, "sold to", "head", "Ada"), (0, "sold to", "tail", "Bob")],
    "ED": [(0, "sale", "trigger", "sold")],
    "EAE": [(0, "sale", "trigger", "sold"), (0, "sale", "seller", "Ada"), (0, "sale", "place", "Rome")],
}


def test_a_row_a_span_in_all_four_tasks(encoder):
    with DemonstrationStore.create([], encoder=encoder) as store:
        for task, (answer, labels, event) in ANSWERS.items():
            query = Query(task=task, text=TEXT, labels=labels, event=event)
            result = Extractor(store, lambda messages, answer=answer: answer, k=0).extract(query)
            rows = result.to_rows()
            assert [(row["item"], row["type"], row["role"], row["span"]) for row in rows] == ROWS[task]
            assert all(tuple(row) == COLUMNS for row in rows)
            assert all(TEXT[row["start"] : row["end"]] == row["span"] for row in rows)
            table = io.StringIO()
            csv.DictWriter(table, COLUMNS).writerows(rows)
            assert table.getvalue().count("\n") == len(rows)


def test_a_row_keeps_which_demonstrations_were_fixed(encoder):
    with DemonstrationStore.create(EXAMPLES, encoder=encoder, progress=False) as store:
        for order in ("similar-first", "similar-last"):
            extractor = Extractor(store, lambda _: "person: Ada", k=2, fixed=2, order=order)
            result = extractor.extract(QUERIES["NER"])
            row = json.loads(json.dumps(result.to_row()))
            again = ExtractionResult.from_row(row, {each.content_id: each for each in EXAMPLES})
            assert result.prompt.fixed == again.prompt.fixed == 2
            assert again.prompt.text == result.prompt.text
            assert [each.example for each in result.demonstrations[-2:]] == [
                each.example for each in extractor.fixed_demonstrations(result.extraction.task)
            ]


def test_a_table_for_notebooks_runs_no_markup_of_the_text(encoder):
    with DemonstrationStore.create([], encoder=encoder) as store:
        result = Extractor(store, lambda _: "person: Ada", k=0).extract(Query(task="NER", text=TEXT, labels=["person"]))
    html = result._repr_html_()
    assert "&lt;b&gt;sold" in html
    assert "<b>" not in html
    assert html.count("<tr>") == 2
    assert repr(result) == "ExtractionResult(NER person: Ada)"


def test_what_a_run_would_take_is_said_without_a_request(encoder):
    def model(messages):
        raise AssertionError("no request is made")

    queries = [Query(task="NER", text=text, labels=["person"]) for text in ("Ada", "Ada", "Bob " * 100, "x" * 9000)]
    with DemonstrationStore.create([], encoder=encoder) as store:
        extractor = Extractor(store, model, k=0, max_tokens=1000)
        estimate = extractor.estimate(queries)
        tokens = [extractor.prompt(query).tokens for query in queries[1:3]]
    assert (estimate.requests, estimate.input_tokens, estimate.longest) == (2, sum(tokens), max(tokens))
    assert estimate.failed == 1


def test_a_row_is_read_back_with_the_prompt_that_was_sent(encoder):
    ada = {"type": "person", "text": "Ada", "start": 0, "end": 3}
    example = Example(task="NER", text="Ada slept.", labels=["person"], entities=[ada])
    for options in ({}, {"answer_format": "json"}, {"instruction": "Find names."}):
        with DemonstrationStore.create([example], encoder=encoder) as store:
            query = Query(task="NER", text=TEXT, labels=["person"])
            result = Extractor(store, lambda _: "person: Ada", **options).extract(query)
        row = result.to_row()
        assert ExtractionResult.from_row(row, {example.content_id: example}) == result
        assert ExtractionResult.from_row(row).prompt is None


def test_the_prompt_of_a_row_asks_about_its_event(encoder):
    answer, labels, event = ANSWERS["EAE"]
    with DemonstrationStore.create([], encoder=encoder) as store:
        query = Query(task="EAE", text=TEXT, labels=labels, event=event)
        result = Extractor(store, lambda _: answer, k=0).extract(query)
    read = ExtractionResult.from_row(result.to_row())
    assert read.prompt.text == result.prompt.text
    assert read.extraction == result.extraction
