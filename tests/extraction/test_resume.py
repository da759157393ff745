"""Going on where an extraction stopped: the file of finished results."""

import json
import threading
import warnings
from types import SimpleNamespace

import pytest

from ruie_components import RowError
from ruie_components.chat import Response
from ruie_components.errors import RuieError
from ruie_components.extraction import AnswerTruncatedWarning, Extractor
from ruie_components.extraction.corpus import extract_corpus
from ruie_components.extraction.resume import ResumeFile, write_results
from ruie_components.prompts import build_prompt

from .many import MANY, PEOPLE, Copier, answers_of


def test_only_what_is_missing_or_failed_is_asked_again(store, tmp_path):
    path = tmp_path / "runs" / "results.jsonl"
    first = Extractor(store, Copier("Cy")).extract_many(MANY[:5], resume=path)
    again = Copier()
    second = Extractor(store, again).extract_many(MANY, resume=path)
    # The two models are of one class, so their settings are the same.
    assert sorted(again.asked) == ["Cy", "Flo", "Gus", "Hal"]
    assert answers_of(second) == PEOPLE
    assert second[0] == first[0]
    assert second[3] == first[3]
    assert len(path.read_text().splitlines()) == len(MANY)


class Parametrized(Copier):
    def __init__(self, **parameters):
        super().__init__()
        self._identifying_params = parameters

    def invoke(self, messages, **options):
        return self(messages)


def test_results_of_another_temperature_are_asked_again(store, tmp_path):
    def asked(model, of):
        Extractor(store, model).extract_many(MANY[:1], resume=tmp_path / "results.jsonl")
        return of.asked

    for parameters in ({"temperature": 0}, {"temperature": 1}, {"stop": object()}):
        assert asked(model := Parametrized(**parameters), model) == ["Ada"]
        assert asked(model := Parametrized(**parameters), model) == []
    cold = Parametrized(temperature=0)
    bound = SimpleNamespace(bound=cold, kwargs={"top_p": 0.5}, invoke=cold.invoke)  # as model.bind(...) makes it
    assert asked(bound, cold) == ["Ada"]


def test_a_resume_reads_the_store_once(store, tmp_path, monkeypatch):
    path = tmp_path / "results.jsonl"
    Extractor(store, Copier()).extract_many(MANY, resume=path)
    calls = []
    get = type(store).get
    monkeypatch.setattr(type(store), "get", lambda self, ids: calls.append(1) or get(self, ids))
    assert answers_of(Extractor(store, Copier()).extract_many(MANY, resume=path)) == PEOPLE
    assert calls == [1]


async def test_an_async_resume_does_not_block_the_loop(store, tmp_path, monkeypatch):
    path = tmp_path / "results.jsonl"
    Extractor(store, Copier()).extract_many(MANY, resume=path)
    get, threads = type(store).get, []
    monkeypatch.setattr(
        type(store), "get", lambda self, ids: threads.append(threading.current_thread()) or get(self, ids)
    )
    await Extractor(store, Copier()).aextract_many(MANY, resume=path)
    assert threads
    assert threading.main_thread() not in threads


async def test_the_async_twin_resumes_too(store, tmp_path):
    path = tmp_path / "results.jsonl"
    await Extractor(store, Copier()).aextract_many(MANY[:6], resume=path)
    again = Copier()
    assert answers_of(await Extractor(store, again).aextract_many(MANY, resume=path)) == PEOPLE
    assert sorted(again.asked) == ["Gus", "Hal"]


def test_a_line_cut_short_is_asked_again(store, tmp_path):
    path = tmp_path / "results.jsonl"
    Extractor(store, Copier()).extract_many(MANY[:3], resume=path, concurrency=1)
    path.write_bytes(path.read_bytes()[:-20])
    again = Copier()
    assert answers_of(Extractor(store, again).extract_many(MANY[:4], resume=path)) == PEOPLE[:4]
    assert len(again.asked) == 2
    last = Copier()
    Extractor(store, last).extract_many(MANY[:4], resume=path)
    assert last.asked == []


def test_other_settings_or_a_changed_pool_are_asked_again(store, tmp_path):
    path = tmp_path / "results.jsonl"
    (first,) = Extractor(store, Copier(), k=2).extract_many(MANY[:1], resume=path)
    changes = (
        {"k": 1},
        {"answer_format": "json"},
        {"max_tokens": 5000},
        {"instruction": "Find."},
        {"fuzzy_threshold": None},
    )
    for change in changes:
        again = Copier()
        Extractor(store, again, **{"k": 2, **change}).extract_many(MANY[:1], resume=path)
        assert again.asked == ["Ada"], change
    store.delete([first.demonstrations[0].example.content_id])
    again = Copier()
    Extractor(store, again, k=2).extract_many(MANY[:1], resume=path)
    assert again.asked == ["Ada"]


def test_lines_that_were_changed_by_hand_are_asked_again(store, tmp_path):
    path = tmp_path / "results.jsonl"
    Extractor(store, Copier()).extract_many(MANY[:2], resume=path)
    first, second = map(json.loads, path.read_text().splitlines())
    without = {name: value for name, value in first.items() if name != "usage"}
    for changed in (without, {**first, "demonstrations": 3}, {**first, "demonstrations": [[7, 0.5]]}):
        path.write_text("\n".join([json.dumps(changed), json.dumps(second), "[1]", '{"a": 1}', ""]))
        again = Copier()
        assert answers_of(Extractor(store, again).extract_many(MANY[:2], resume=path)) == PEOPLE[:2]
        assert again.asked == ["Ada"]


def test_a_file_of_something_else_is_left_alone(store, tmp_path):
    path = tmp_path / "examples.jsonl"
    row = json.dumps({"task": "NER", "text": "Ada"}) + "\n"
    path.write_text(row)
    with pytest.raises(RowError, match=r"examples\.jsonl is not a file of finished results"):
        Extractor(store, Copier()).extract_many(MANY, resume=path)
    assert path.read_text() == row


def test_every_finished_result_is_on_disk_when_the_run_is_broken_off(store, tmp_path):
    path = tmp_path / "results.jsonl"

    def model(messages):
        if "Cy" in messages[-1][1]:
            raise KeyboardInterrupt
        return "person: x"

    with pytest.raises(KeyboardInterrupt):
        Extractor(store, model).extract_many(MANY[:3], resume=path, concurrency=1)
    assert len(path.read_text().splitlines()) == 2


class BusyError(Exception):
    """As a client raises it when the server asks to come back in a hundred seconds."""

    status_code, headers = 503, {"Retry-After": "100"}


class Busy:
    """A model that is always busy; Ctrl-C comes in place of Ada's answer, once two others are asked."""

    def __init__(self):
        self.calls = 0
        self._asked = threading.Barrier(3)

    def __call__(self, messages):
        self.calls += 1
        self._asked.wait()
        raise KeyboardInterrupt if "Ada" in messages[-1][1] else BusyError


def test_ctrl_c_does_not_wait_for_retries(store, tmp_path):
    model = Busy()
    with pytest.raises(KeyboardInterrupt):
        Extractor(store, model, retries=5).extract_many(MANY[:3], concurrency=3, progress=False)
    assert model.calls == 3
    model = Busy()
    corpus = [(query.text, {"text": query.text, "task": "NER", "labels": ["person"]}) for query in MANY[:3]]
    with pytest.raises(KeyboardInterrupt):
        extract_corpus(Extractor(store, model, retries=5), corpus, tmp_path / "run", concurrency=3, progress=False)
    assert model.calls == 3


def test_a_second_run_on_the_same_file_is_refused_and_the_first_goes_on(store, tmp_path):
    path = tmp_path / "results.jsonl"
    refused = pytest.raises(RuieError, match=r"another process is writing its results to .*results\.jsonl")
    with ResumeFile(path, settings={}, get_examples=store.get, write_prompt=build_prompt), refused:
        Extractor(store, Copier()).extract_many(MANY, resume=path)
    assert answers_of(Extractor(store, Copier()).extract_many(MANY, resume=path)) == PEOPLE
    assert [found.name for found in tmp_path.iterdir()] == ["results.jsonl"]


@pytest.mark.parametrize("response", [Response(""), Response("person: A", truncated=True)], ids=["empty", "truncated"])
def test_an_unfinished_answer_is_written_and_asked_again(store, tmp_path, response):
    path = tmp_path / "results.jsonl"
    responses = [response, Response("person: Ada")]

    def model(messages):
        return responses.pop(0)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AnswerTruncatedWarning)
        (first,) = Extractor(store, model).extract_many(MANY[:1], resume=path)
    assert first.extraction.entities == ()
    assert len(path.read_text().splitlines()) == 1
    assert answers_of(Extractor(store, model).extract_many(MANY[:1], resume=path)) == ["Ada"]
    assert len(path.read_text().splitlines()) == 1
    assert answers_of(Extractor(store, model).extract_many(MANY[:1], resume=path)) == ["Ada"]  # nothing is left to say


def test_equal_queries_are_answered_once_and_keep_their_own_ids(store, tmp_path):
    path = tmp_path / "results.jsonl"
    queries = [MANY[0].model_copy(update=own) for own in ({"id": 1, "metadata": {"page": 3}}, {"id": "b"}, {})]
    model = Copier()
    results = Extractor(store, model).extract_many(queries, resume=path)
    assert len(model.asked) == 1
    assert [(result.id, result.metadata) for result in results] == [(1, {"page": 3}), ("b", {}), (None, {})]
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [(row.get("id"), row.get("metadata")) for row in rows] == [(1, {"page": 3}), ("b", None), (None, None)]
    assert len({json.dumps(row["extraction"]) for row in rows}) == 1
    again = Extractor(store, model).extract_many(queries[1:], resume=path)
    assert (len(model.asked), [result.id for result in again]) == (1, ["b", None])


def test_rows_of_an_earlier_run_with_equal_texts_and_different_ids_stay(store, tmp_path):
    path = tmp_path / "results.jsonl"
    ids = [1, "b", None, None]  # two lines of a text file are two queries without an id
    first = [MANY[0].model_copy(update={"id": own}) for own in ids]
    extractor = Extractor(store, Copier())
    extractor.extract_many(first, resume=path)
    before = path.read_text("utf-8")
    extractor.extract_many(MANY[1:2], resume=path)
    assert path.read_text("utf-8").startswith(before)
    assert ids_in(path) == [*ids, None]
    whole = extractor.extract_many(MANY[2:3])
    write_results(path, extractor.settings, MANY[2:3], whole)
    assert path.read_text("utf-8").startswith(before)
    extractor.extract_many([MANY[0].model_copy(update={"id": own}) for own in ("b", "c")], resume=path)
    assert ids_in(path) == [1, None, None, None, None, "b", "c"]


def test_a_repeated_query_keeps_its_last_row_when_its_run_was_interrupted(store, tmp_path):
    path = tmp_path / "results.jsonl"
    extractor = Extractor(store, Copier())
    extractor.extract_many(MANY[:1], resume=path)
    row = json.loads(path.read_text("utf-8"))
    earlier = {**row, "usage": {**row["usage"], "truncated": True}}
    path.write_text("".join(json.dumps(each) + "\n" for each in (earlier, row)), "utf-8")
    extractor.extract_many(MANY[1:2], resume=path)
    assert [json.loads(line)["usage"]["truncated"] for line in path.read_text("utf-8").splitlines()] == [False, False]


def ids_in(path):
    return [json.loads(line).get("id") for line in path.read_text("utf-8").splitlines()]
