"""Whole corpora: one row per document, in order, whatever ends a run; budgets; shards."""

import contextlib
import csv
import json
import shutil
import threading
import warnings
from types import SimpleNamespace

import httpx
import pytest

from ruie_components import ChatModelError, Query, RowError
from ruie_components.chat import Response
from ruie_components.errors import RuieError
from ruie_components.extraction import Chunking, Extractor, PoolChangedWarning
from ruie_components.extraction.budget import Budget
from ruie_components.extraction.corpus import extract_corpus
from ruie_components.extraction.merging import merge_runs
from ruie_components.extraction.run_folder import RESULTS, locked
from ruie_components.formats.corpora import count_documents, read_corpus
from ruie_components.prompts import MESSAGE_OVERHEAD
from ruie_components.types import Task

from ..pool import EXAMPLES, ner
from .many import Copier

pytestmark = pytest.mark.usefixtures("no_waiting")

NAMES = ["Ada", "Bob", "Cy", "Dan", "Eve", "Flo", "Gus", "Hal", "Ida", "Jo"]
FILES = ["results.jsonl", "run.json", "summary.json"]
DOCUMENTS = [{"text": f"Here {name} slept.", "id": f"doc-{name}", "metadata": {"page": 1}} for name in NAMES]


@pytest.fixture
def run(store, tmp_path):
    """Extracts with a model; returns the summary and the rows."""

    def extract(model, documents=DOCUMENTS, out="run", **options):
        extractor = Extractor(store, model, k=1, task="NER", labels=["person"])
        summary = extract_corpus(
            extractor,
            [(f"line {i}", row) for i, row in enumerate(documents)],
            tmp_path / out,
            progress=False,
            **options,
        )
        return summary, rows_in(tmp_path / out)

    return extract


def rows_in(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text("utf-8").splitlines()]


def summary_in(folder):
    return json.loads((folder / "summary.json").read_text("utf-8"))


def names_in(rows):
    return [[entity["text"] for entity in row["extraction"].get("entities", [])] for row in rows]


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


def test_failed_documents_have_a_row_and_can_be_asked_again(run):
    summary, rows = run(Copier("Cy", "Hal"))
    assert (summary.failed, summary.complete, summary.documents) == (2, True, 10)
    assert rows[2]["error"] == "RuntimeError: no Cy today"
    model = Copier("Hal")
    summary, rows = run(model, retry_failed=True)
    assert set(model.asked) == {"Cy", "Hal"}
    assert [row["id"] for row in rows] == [f"doc-{name}" for name in NAMES]
    assert names_in(rows)[2] == ["Cy"]
    assert [row["id"] for row in rows if "error" in row] == ["doc-Hal"]


def test_a_damaged_file_of_settings_is_named(run, tmp_path):
    run(Copier())
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(RuieError, match=r"run\.json"):
        run(Copier())


def test_asking_again_about_a_corpus_that_has_changed_loses_no_row(run, tmp_path):
    run(Copier("Cy"))
    before = rows_in(tmp_path / "run")
    shorter = [DOCUMENTS[0], *DOCUMENTS[2:]]
    with pytest.raises(RuieError, match=r"row 2 is of another document than .*the corpus of the first call"):
        run(Copier(), shorter, retry_failed=True)
    with pytest.raises(RuieError, match="more rows than documents"):
        run(Copier(), DOCUMENTS[:-1], retry_failed=True)
    summary, rows = run(Copier(), retry_failed=True)
    assert (summary.complete, summary.failed) == (True, 0)
    assert [row["id"] for row in rows] == [row["id"] for row in before]
    assert names_in(rows)[2] == ["Cy"]


def as_copier(model):
    """A function as a model whose settings are those of a ``Copier``."""
    model.__name__ = "Copier"
    return model


@as_copier
def gone(messages):
    raise ConnectionError("gone")


def test_a_retry_without_a_server_keeps_every_row(run, tmp_path):
    _, before = run(Copier("Cy", "Dan", "Eve", "Hal"))
    with pytest.raises(ChatModelError, match="gone"):
        run(gone, retry_failed=True)
    assert rows_in(tmp_path / "run") == before
    summary = summary_in(tmp_path / "run")
    assert (summary["documents"], summary["failed"], summary["complete"]) == (10, 4, False)
    assert "gone" in summary["stopped"]
    model = Copier()
    summary, rows = run(model, retry_failed=True)
    assert sorted(model.asked) == ["Cy", "Dan", "Eve", "Hal"]
    assert names_in(rows) == [[name] for name in NAMES]
    assert (summary.documents, summary.failed, summary.complete) == (10, 0, True)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock", *FILES]


@pytest.mark.parametrize("options", [{"budget": Budget(calls=13)}, {"documents": [*DOCUMENTS[:5], {"text": "\ud800"}]}])
def test_a_retry_that_ends_early_keeps_the_rows_behind(run, tmp_path, options):
    _, before = run(Copier("Cy", "Hal"))
    with contextlib.suppress(RuieError):
        run(Copier(), retry_failed=True, **options)
    rows = rows_in(tmp_path / "run")
    assert [row["id"] for row in rows] == [row["id"] for row in before]
    assert rows[3:] == before[3:]
    assert ("error" in rows[2], "error" in rows[7]) == (False, True)


def test_the_rows_of_a_killed_retry_are_continued(run, tmp_path):
    _, before = run(Copier("Cy", "Hal"))
    seen = []

    @as_copier
    def model(messages):  # as a process sees the folder that is killed here
        seen.append((rows_in(tmp_path / "run"), summary_in(tmp_path / "run")["complete"]))
        return Copier()(messages)

    _, after = run(model, retry_failed=True)
    assert seen == [(before, True)] * 2
    lines = [json.dumps(row) + "\n" for row in before]
    (tmp_path / "run" / "results.jsonl").write_text("".join(lines))
    (tmp_path / "run" / ".retry.jsonl").write_text("".join(json.dumps(row) + "\n" for row in after[:4]) + lines[4][:9])
    model = Copier()
    assert run(model)[1][:7] == after[:7]
    assert model.asked == ["Hal"]
    assert not (tmp_path / "run" / ".retry.jsonl").exists()


def test_a_retry_goes_on_with_documents_that_had_no_row_yet(run, tmp_path):
    _, before = run(Copier("Cy"), budget=Budget(calls=5))
    model = Copier()
    summary, rows = run(model, retry_failed=True)
    assert sorted(model.asked) == ["Cy", *NAMES[len(before) :]]
    assert (summary.complete, names_in(rows)) == (True, [[name] for name in NAMES])


def test_overwriting_starts_over_with_the_same_settings_too(run):
    run(Copier())
    model = Copier()
    assert run(model, overwrite=True)[0].resumed == 0
    assert sorted(model.asked) == NAMES


@pytest.mark.filterwarnings("ignore::ruie_components.extraction.AnswerTruncatedWarning")
def test_cut_and_empty_answers_are_counted_and_can_be_asked_again(run):
    answers = {"Bob": Response("person: Bob", truncated=True), "Cy": Response(" ")}

    @as_copier
    def model(messages):
        asked.append(messages[-1][1].split('Input: "')[1].split()[1])
        return answers.get(asked[-1], Response(f"person: {asked[-1]}"))

    asked: list[str] = []
    summary, rows = run(model, [*DOCUMENTS[:4], {"text": ""}])
    assert (summary.failed, summary.truncated, summary.unanswered, summary.empty) == (0, 1, 1, 1)
    failing = run(Copier("Bob", "Cy"), [*DOCUMENTS[:4], {"text": ""}], retry_failed=True)
    assert (failing[0].failed, failing[0].truncated) == (1, 1)  # the earlier answer is more than none
    assert failing[1][1]["extraction"] == rows[1]["extraction"]
    asked, answers = [], {}
    summary, rows = run(model, [*DOCUMENTS[:4], {"text": ""}], retry_failed=True)
    assert sorted(asked) == ["Bob", "Cy"]
    assert (summary.failed, summary.truncated, summary.unanswered) == (0, 0, 0)


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


def test_a_budget_of_calls_is_never_passed_and_the_run_goes_on_with_a_larger_one(run):
    model = Copier()
    summary, rows = run(model, budget=Budget(calls=4))
    assert (len(model.asked), len(rows), summary.complete) == (4, 4, False)
    assert summary.stopped == "the budget of 4 calls"
    summary, _ = run(model, budget=Budget(calls=4))
    assert (len(model.asked), summary.documents) == (4, 4)
    summary, rows = run(model, budget=Budget(calls=100))
    assert (len(rows), summary.complete, len(model.asked)) == (10, True, 10)


def changed_pool(match):
    return pytest.warns(PoolChangedWarning, match=match)


@pytest.mark.parametrize("change", ["add", "delete", "replace"])
def test_a_run_that_goes_on_with_a_changed_pool_says_so(run, store, tmp_path, change):
    run(Copier(), budget=Budget(calls=2))
    run(Copier(), budget=Budget(calls=4))  # the pool is the same: no warning, which is an error here
    new = ner("Dan slept in Oslo.", Dan="person", Oslo="place")
    if change != "add":
        store.delete([EXAMPLES[0].content_id])
    if change != "delete":
        store.add([new])
    now = {"add": "6 now", "delete": "4 now", "replace": "other ones now"}[change]
    told = rf"the pool 'default' has changed since rows in .*run were made \(NER: 5 examples then, {now}\)"
    with changed_pool(told):
        summary, rows = run(Copier(), budget=Budget(calls=6))
    assert (len(rows), summary.resumed) == (6, 4)
    with changed_pool(told):  # its first rows are still those of before
        assert run(Copier())[0].complete
    run(Copier(), overwrite=True)
    run(Copier())
    states = json.loads((tmp_path / "run" / "run.json").read_text())["pool"]
    assert [state["NER"]["rows"] for state in states] == [store.count("NER")]


def test_only_rows_of_the_tasks_of_a_run_count(run, store):
    run(Copier(), budget=Budget(calls=2))
    store.delete([example.content_id for example in EXAMPLES if example.task is Task.RE])
    run(Copier(), budget=Budget(calls=4))


def test_a_run_that_an_earlier_version_began_goes_on(run, tmp_path):
    run(Copier(), budget=Budget(calls=2))
    path = tmp_path / "run" / "run.json"
    settings = json.loads(path.read_text())
    del settings["pool"]
    path.write_text(json.dumps(settings))
    assert run(Copier())[0].complete


def test_shards_of_different_pools_are_merged_with_a_warning(run, store, tmp_path):
    folders = [tmp_path / f"shard-{i}" for i in (1, 2)]
    run(Copier(), out=folders[0].name, shard=(1, 2))
    store.delete([EXAMPLES[0].content_id])
    run(Copier(), out=folders[1].name, shard=(2, 2))
    told = r"shard-1 and .*shard-2 were made with different states of the pool \(NER: 5 and 4 examples\)"
    for _ in range(2):
        with changed_pool(told):
            assert merge_runs(folders, tmp_path / "merged", progress=False).documents == 10
    run(Copier(), out=folders[0].name, shard=(1, 2), overwrite=True)
    merge_runs(folders, tmp_path / "merged", progress=False, overwrite=True)


@pytest.mark.parametrize("failing", [["Ada", "Cy", "Jo"], ["Hal", "Ida", "Jo"]])
def test_a_budget_counts_what_a_retry_takes_over_from_its_beginning(run, failing):
    first, _ = run(Copier(*failing), out="run")
    each = (first.input_tokens + first.output_tokens) // 7  # tokens of a document that was answered
    spent = first.input_tokens + first.output_tokens
    for out, less, more in (
        ("run", Budget(calls=first.calls + 2), Budget(calls=first.calls + 3)),
        ("tokens", Budget(tokens=spent + 5 * each // 2), Budget(tokens=spent + 9 * each // 2)),
    ):
        run(Copier(*failing), out=out)
        model = Copier()
        summary, rows = run(model, out=out, retry_failed=True, budget=less)
        assert (sorted(model.asked), summary.failed, len(rows)) == (failing[:2], 1, 10)
        assert summary.stopped.startswith("the budget of")
        assert summary.calls == first.calls + 2
        summary, _ = run(model, out=out, retry_failed=True, budget=less)
        assert (len(model.asked), summary.failed) == (2, 1)
        summary, rows = run(model, out=out, retry_failed=True, budget=more)
        assert (sorted(model.asked), summary.failed, summary.stopped) == (failing, 0, None)
        assert summary.calls == first.calls + 3
        assert names_in(rows) == [[name] for name in NAMES]


def test_a_repeated_request_counts_towards_the_budget(run):
    model = Copier("Ada")
    summary, rows = run(model, budget=Budget(calls=1))
    assert (len(model.asked), summary.calls, summary.failed) == (1, 1, 1)
    assert "no Ada today" in rows[0]["error"]
    model = Copier("Ada")
    summary, rows = run(model, DOCUMENTS[:1], out="two", budget=Budget(calls=2))
    assert (len(model.asked), summary.calls, len(rows)) == (2, 2, 1)


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


def test_budgets_of_tokens_and_money(run):
    whole, _ = run(Copier())
    half = (whole.input_tokens + whole.output_tokens) // 2
    summary, rows = run(Copier(), out="tokens", budget=Budget(tokens=half))
    assert 3 <= len(rows) <= 5
    assert summary.input_tokens + summary.output_tokens <= half
    prices = (2.0, 10.0)
    cost = (whole.input_tokens * 2 + whole.output_tokens * 10) / 1e6
    summary, rows = run(Copier(), out="money", budget=Budget(cost=cost / 2, prices=prices))
    assert 3 <= len(rows) <= 5
    assert summary.cost <= cost / 2
    with pytest.raises(ValueError, match="a budget of money needs prices"):
        Budget(cost=1.0)


def test_shards_make_the_whole_whatever_their_order_and_however_often_they_are_merged(run, tmp_path):
    _, whole = run(Copier())
    for i in (3, 1, 2):
        run(Copier(), out=f"shard-{i}", shard=(i, 3))
    folders = [tmp_path / f"shard-{i}" for i in (2, 3, 1)]
    summary = merge_runs(folders, tmp_path / "merged", progress=False)
    first = (tmp_path / "merged" / "results.jsonl").read_bytes()
    merge_runs(folders[::-1], tmp_path / "merged", progress=False)
    assert (tmp_path / "merged" / "results.jsonl").read_bytes() == first
    merged = rows_in(tmp_path / "merged")
    assert [row["id"] for row in merged] == [row["id"] for row in whole]
    assert [row["extraction"] for row in merged] == [row["extraction"] for row in whole]
    assert (summary.documents, summary.calls, summary.complete) == (10, 10, True)
    with pytest.raises(RuieError, match="shard 3/3 is missing"):
        merge_runs([folders[0], folders[2]], tmp_path / "merged")
    with pytest.raises(RuieError, match="give each shard once"):
        merge_runs([*folders, folders[0]], tmp_path / "merged")
    with pytest.raises(RuieError, match="is one of the shards"):
        merge_runs(folders, folders[1])
    run(Copier(), out="part", shard=(1, 3), budget=Budget(calls=1))
    with pytest.raises(RuieError, match=r"shard 1/3 in .* is not complete"):
        merge_runs([tmp_path / "part", *folders[:2]], tmp_path / "merged")
    with pytest.raises(RuieError, match="is not a shard"):
        merge_runs([tmp_path / "run"], tmp_path / "merged")


def test_a_shard_that_has_grown_or_failed_since_its_summary_is_not_merged(run, tmp_path):
    folders = [tmp_path / f"shard-{i}" for i in (1, 2)]
    for i, folder in enumerate(folders, start=1):
        run(Copier(), DOCUMENTS[:2], out=folder.name, shard=(i, 2))
    seen = []

    @as_copier
    def model(messages):  # as a process sees the folder that is killed here
        seen.append(summary_in(folders[1])["complete"])
        raise ConnectionError("gone")

    with pytest.raises(ChatModelError, match="gone"):
        run(model, out="shard-2", shard=(2, 2), concurrency=1)
    assert not any(seen)
    with pytest.raises(RuieError, match=r"shard 2/2 in .* is not complete"):
        merge_runs(folders, tmp_path / "merged")
    run(Copier(), out="shard-2", shard=(2, 2))
    run(Copier(), out="shard-1", shard=(1, 2))
    with (folders[0] / RESULTS).open("a") as file:
        file.write(json.dumps(rows_in(folders[0])[0]) + "\n")
    with pytest.raises(RuieError, match=r"shard-1 has more rows than its summary\.json says"):
        merge_runs(folders, tmp_path / "merged")
    assert not (tmp_path / "merged" / RESULTS).exists()


def test_a_merge_replaces_an_unrelated_run_only_when_told(run, tmp_path):
    folders = [tmp_path / f"shard-{i}" for i in (1, 2)]
    for i, folder in enumerate(folders, start=1):
        run(Copier(), out=folder.name, shard=(i, 2))
    out = tmp_path / "out"
    others = {
        "other settings": {"chunking": Chunking(max_tokens=100)},
        "another corpus": {"documents": [{"text": "Here Eve slept."}]},
        "over another corpus": {"documents": [*DOCUMENTS, {"text": "Here Eve slept."}]},
    }
    for message, other in others.items():
        run(Copier(), out="out", overwrite=True, **other)
        before = (out / RESULTS).read_bytes()
        with pytest.raises(RuieError, match=message):
            merge_runs(folders, out, progress=False)
        assert (out / RESULTS).read_bytes() == before
        assert merge_runs(folders, out, overwrite=True, progress=False).documents == 10
        assert len(rows_in(out)) == 10
        shutil.rmtree(out)
    with locked(out), pytest.raises(RuieError, match="another process is writing its results"):
        merge_runs(folders, out, progress=False)


def test_shards_of_machines_with_servers_of_their_own_are_merged(run, tmp_path):
    folders = [tmp_path / f"shard-{i}" for i in (1, 2)]
    for i, folder in enumerate(folders, start=1):
        run(Copier(), out=folder.name, shard=(i, 2))
        settings = json.loads((folder / "run.json").read_text())
        settings["extractor"]["model_settings"]["base_url"] = f"http://gpu{i}:8000/v1"
        (folder / "run.json").write_text(json.dumps(settings))
    assert merge_runs(folders, tmp_path / "merged", progress=False).documents == 10
    assert merge_runs(folders[::-1], tmp_path / "merged", progress=False).documents == 10
    settings["extractor"]["answer_format"] = "json"
    (folders[1] / "run.json").write_text(json.dumps(settings))
    with pytest.raises(RuieError, match=r"different settings \(extractor.answer_format\): extract one of them again"):
        merge_runs(folders, tmp_path / "merged")


def test_corpora_are_read_from_files_folders_and_saved_data_sets(tmp_path):
    folder = tmp_path / "texts"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "two.txt").write_text("Two\nlines.", "utf-8")
    (folder / "a.md").write_bytes("\ufeffEins.".encode("utf-16-le"))
    (folder / "image.png").write_bytes(b"\0")
    rows = [row for _, row in read_corpus(folder)]
    assert rows == [{"text": "Eins.", "id": "a.md"}, {"text": "Two\nlines.", "id": "b/two.txt"}]
    assert count_documents(folder) == 2
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "body"], ["7", "Ada slept."]])
    assert [row for _, row in read_corpus(tmp_path / "table.csv", text_key="body")] == [
        {"text": "Ada slept.", "id": "7"}
    ]
    (tmp_path / "rows.jsonl").write_text('{"text": "Ada."}\n{"text": "Bob.", "id": 3}\n')
    assert [row for _, row in read_corpus(tmp_path / "rows.jsonl")] == [{"text": "Ada."}, {"text": "Bob.", "id": 3}]
    assert count_documents(tmp_path / "rows.jsonl") == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(RowError, match=r"no files with the endings \.txt"):
        list(read_corpus(tmp_path / "empty"))
    with pytest.raises(RowError, match="no such file or folder"):
        list(read_corpus(tmp_path / "nowhere"))


def test_a_hugging_face_data_set(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = pytest.importorskip("datasets", exc_type=ImportError)
        rows = {"text": ["Ada slept.", "Bob slept."], "page": [1, 2]}
        datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "saved")
        read = [row for _, row in read_corpus(tmp_path / "saved")]
    assert read == [
        {"text": "Ada slept.", "metadata": {"page": 1}},
        {"text": "Bob slept.", "metadata": {"page": 2}},
    ]


def test_parquet_has_a_row_a_document(run, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    from ruie_components.extraction.parquet import write_parquet

    run(Copier("Bob"), [*DOCUMENTS, {"text": ""}])
    table = pq.read_table(write_parquet(tmp_path / "run" / RESULTS)).to_pylist()
    assert [row["id"] for row in table] == [*(f"doc-{name}" for name in NAMES), "10"]
    assert table[0]["spans"] == [{"item": 0, "type": "person", "role": "entity", "span": "Ada", "start": 5, "end": 8}]
    assert table[1]["error"] == "RuntimeError: no Bob today"
    assert json.loads(table[0]["metadata"]) == {"page": 1}
