"""Whole corpora: one row per document, in order, whatever ends a run."""

import json
import threading
from types import SimpleNamespace

import httpx
import pytest

from ruie_components import ChatModelError, Query, RowError
from ruie_components.errors import RuieError
from ruie_components.extraction import Chunking, Extractor
from ruie_components.extraction.corpus import extract_corpus
from ruie_components.extraction.run_folder import RESULTS
from ruie_components.prompts import MESSAGE_OVERHEAD
from ruie_components.types import Task

from .corpus_runs import DOCUMENTS, NAMES, names_in, rows_in, summary_in
from .many import Copier

pytestmark = pytest.mark.usefixtures("no_waiting")


def test_rows_are_in_order_with_ids_and_metadata(run, tmp_path):
    summary, rows = run(Copier())
    assert [row["id"] for row in rows] == [f"doc-{name}" for name in NAMES]
    assert names_in(rows) == [[name] for name in NAMES]
    assert all(row["metadata"] == {"page": 1} for row in rows)
    assert (summary.documents, summary.calls, summary.annotations, summary.failed) == (10, 10, 10, 0)
    assert (summary.complete, summary.stopped, summary.resumed) == (True, None, 0)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["documents"] == 10


def test_shared_tokens_are_of_the_tokens_as_the_model_counts_them(run):
    copier = Copier()
    usage = {"input_tokens": 1000, "output_tokens": 1}
    summary, rows = run(lambda messages: SimpleNamespace(text=copier(messages), usage_metadata=usage))
    assert all(row["shared_tokens"] <= row["usage"]["input_tokens"] == 1000 for row in rows)
    assert 0 < summary.shared_tokens < summary.input_tokens == 10_000


def test_the_chunks_of_a_document_do_not_depend_on_fixed_demonstrations(store):
    giant = {"text": "Here Ada slept. " * 60}
    plans = [
        Extractor(store, Copier(), fixed=fixed, task="NER", labels=["person"], max_tokens=400).plan(giant)
        for fixed in (0, 4)
    ]
    assert len(plans[0].queries) > 1
    assert [query.text for query in plans[0].queries] == [query.text for query in plans[1].queries]


def test_a_fixed_demonstration_of_the_input_itself_is_left_out_however_its_white_space_is(store):
    extractor = Extractor(store, Copier(), k=4, fixed=4, task="NER")
    for shown in extractor.fixed_demonstrations(Task.NER):
        own = shown.example.text
        texts = {each.example.text for each in extractor.prompt(f" {own}\n").demonstrations}
        assert own not in texts
        assert texts


def test_fixed_demonstrations_come_first_and_their_tokens_are_counted_as_shared(store, tmp_path):
    documents = [(f"line {i}", row) for i, row in enumerate(DOCUMENTS)]
    prompts, summaries = {}, {}
    for fixed in (0, 2):
        extractor = Extractor(store, Copier(), k=1, fixed=fixed, task="NER", labels=["person"])
        prompts[fixed] = [extractor.prompt(row) for _, row in documents]
        summaries[fixed] = extract_corpus(extractor, documents, tmp_path / f"run-{fixed}", progress=False)
    first = prompts[2][0].demonstrations[:2]
    known = {shown.example.text for shown in first}
    assert [one.fixed for one in prompts[2]] == [2] * len(DOCUMENTS)
    assert {label for shown in first for label, _ in shown.example.annotations} == {"person", "place"}
    for chosen, with_fixed in zip(prompts[0], prompts[2], strict=True):
        assert with_fixed.demonstrations[:2] == first
        assert with_fixed.demonstrations[2:] == tuple(
            each for each in chosen.demonstrations if each.example.text not in known
        )
    common = prompts[2][0].messages[:5]  # the instruction and two demonstrations
    assert all(one.messages[:5] == common for one in prompts[2])
    least = sum(extractor.count_tokens(content) + MESSAGE_OVERHEAD for _, content in common) * (len(DOCUMENTS) - 1)
    assert least <= summaries[2].shared_tokens <= summaries[2].input_tokens
    assert summaries[0].shared_tokens < summaries[2].shared_tokens
    rows = rows_in(tmp_path / "run-2")
    assert sum(row["shared_tokens"] for row in rows) == summaries[2].shared_tokens
    with pytest.raises(RuieError, match=r"other settings \(extractor.fixed\)"):
        extract_corpus(Extractor(store, Copier(), k=1, task="NER", labels=["person"]), documents, tmp_path / "run-2")
    with pytest.raises(ValueError, match="fixed must be a whole number"):
        Extractor(store, Copier(), fixed=-1)


@pytest.mark.parametrize("kept", [0, 1, 4, 9.5, 10])
def test_a_run_goes_on_behind_the_last_whole_row(run, tmp_path, kept):
    whole, rows = run(Copier())
    path = tmp_path / "run" / "results.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    half = lines[int(kept)][: len(lines[0]) // 2] if kept % 1 else b""
    path.write_bytes(b"".join(lines[: int(kept)]) + half)
    again = Copier()
    summary, after = run(again)
    assert sorted(again.asked) == sorted(NAMES[int(kept) :])
    assert [row["id"] for row in after] == [row["id"] for row in rows]
    assert (summary.resumed, summary.documents, summary.calls) == (int(kept), 10, whole.calls)


@pytest.mark.parametrize(
    "document",
    [{"input": "Here Ada slept."}, {"query": Query(task="NER", text="Ada slept.", labels=["person"])}, {"input": " "}],
    ids=["input", "query", "empty"],
)
def test_a_run_resumes_whatever_the_text_is_called(run, document):
    first, rows = run(Copier(), [document])
    again, same = run(Copier(), [document])
    assert (first.resumed, again.resumed) == (0, 1)
    assert rows == same
    assert [row["id"] for row in rows] == [0]


def test_a_text_of_one_chunk_is_asked_about_once_in_all_passes(run):
    summary, rows = run(Copier(), chunking=Chunking(passes=3))
    assert summary.calls == len(DOCUMENTS)
    assert names_in(rows) == [[name] for name in NAMES]


def test_another_corpus_or_other_settings_are_refused(run):
    run(Copier())
    with pytest.raises(RuieError, match=r"row 3 is of another document than line 2\. The corpus has changed"):
        run(Copier(), [*DOCUMENTS[:2], {"text": "Other."}, *DOCUMENTS[3:]])
    with pytest.raises(RuieError, match="there are more rows than documents"):
        run(Copier(), DOCUMENTS[:3])
    with pytest.raises(RuieError, match=r"other settings \(chunking.max_tokens\)"):
        run(Copier(), chunking=Chunking(77))
    assert run(Copier(), chunking=Chunking(77), overwrite=True)[0].resumed == 0


def test_only_one_process_writes_a_folder(run, tmp_path):
    def model(messages):
        with pytest.raises(RuieError, match="another process is writing"):
            run(Copier())
        return "None"

    assert run(model, DOCUMENTS[:1])[0].documents == 1


def test_a_damaged_file_of_settings_is_named(run, tmp_path):
    run(Copier())
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(RuieError, match=r"run\.json"):
        run(Copier())


def test_overwriting_starts_over_with_the_same_settings_too(run):
    run(Copier())
    model = Copier()
    assert run(model, overwrite=True)[0].resumed == 0
    assert sorted(model.asked) == NAMES


def test_an_empty_answer_to_a_chunk_is_counted(run):
    def model(messages):
        return "" if "Here Zed slept" in messages[-1][1] else "None"

    documents = [{"text": "Here Ada slept. Here Zed slept. Here Bob slept."}, {"text": "Here Ada slept."}]
    summary, rows = run(model, documents, chunking=Chunking(5, 0))
    assert summary.unanswered == 1
    assert [row.get("unanswered") for row in rows] == [True, None]


def test_a_server_that_goes_away_ends_the_run_without_rows_of_failures(run, tmp_path):
    copier, lock = Copier(), threading.Lock()

    def model(messages):
        with lock:
            if len(copier.asked) >= 4:
                raise ConnectionError("gone")
        return copier(messages)

    with pytest.raises(ChatModelError, match="gone"):
        run(model, concurrency=1)
    rows = rows_in(tmp_path / "run")
    assert 1 <= len(rows) <= 4
    assert not any("error" in row for row in rows)
    summary = summary_in(tmp_path / "run")
    assert (summary["documents"], summary["complete"], "gone" in summary["stopped"]) == (len(rows), False, True)


def test_documents_without_a_text_are_no_calls_and_bad_ones_name_their_line(run, tmp_path):
    summary, rows = run(Copier(), [DOCUMENTS[0], {"text": " \n"}, DOCUMENTS[1]])
    assert (summary.empty, summary.calls, summary.failed) == (1, 2, 0)
    assert [row["id"] for row in rows] == ["doc-Ada", 1, "doc-Bob"]
    with pytest.raises(RowError, match=r"line 1: .*half of a surrogate pair"):
        run(Copier(), [DOCUMENTS[0], {"text": "\ud800"}], out="other")
    assert len(rows_in(tmp_path / "other")) == 1


def test_long_documents_are_cut_and_a_giant_one_does_not_hold_up_the_order(run):
    giant = {"text": "Here Ada slept. " * 60, "id": "giant"}
    summary, rows = run(Copier(), [giant, *DOCUMENTS], chunking=Chunking(20, 0))
    assert [row["id"] for row in rows] == ["giant", *(f"doc-{name}" for name in NAMES)]
    assert summary.calls == len(rows[0]["chunks"]) + 10
    assert len(rows[0]["chunks"]) > 10


def test_chunks_that_time_out_in_every_document_do_not_end_a_run(run):
    copier = Copier()
    asked = []

    def model(messages):
        if "Here Zed slept" in messages[-1][1]:
            asked.append(messages[-1][1])
            raise httpx.ReadTimeout("too slow")
        return copier(messages)

    documents = [{"text": "Here Ada slept. Here Zed slept. Here Bob slept.", "id": i} for i in range(5)]
    _, rows = run(model, documents, chunking=Chunking(5, 0))
    assert [len(row["chunks"]) for row in rows] == [3] * 5
    assert names_in(rows) == [["Ada", "Bob"]] * 5
    assert all("1 of 3 chunks failed" in row["error"] for row in rows)
    assert len(asked) >= 2 * 5  # each once more at the end of its document


def test_parquet_has_a_row_a_document(run, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    from ruie_components.extraction.parquet import write_parquet

    run(Copier("Bob"), [*DOCUMENTS, {"text": ""}])
    table = pq.read_table(write_parquet(tmp_path / "run" / RESULTS)).to_pylist()
    assert [row["id"] for row in table] == [*(f"doc-{name}" for name in NAMES), "10"]
    assert table[0]["spans"] == [{"item": 0, "type": "person", "role": "entity", "span": "Ada", "start": 5, "end": 8}]
    assert table[1]["error"] == "RuntimeError: no Bob today"
    assert json.loads(table[0]["metadata"]) == {"page": 1}
