"""Documents of a corpus run that failed are asked again, and no row is lost meanwhile."""

import contextlib
import json

import pytest

from ruie_components import ChatModelError
from ruie_components.chat import Response
from ruie_components.errors import RuieError
from ruie_components.extraction.budget import Budget

from .corpus_runs import DOCUMENTS, FILES, NAMES, as_copier, gone, names_in, rows_in, summary_in
from .many import Copier

pytestmark = pytest.mark.usefixtures("no_waiting")


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
