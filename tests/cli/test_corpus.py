"""`ruie extract CORPUS --out RUN`: parts, shards, interruptions, OpenAI batch files."""

import json
import subprocess
import sys

import pytest

from .extraction import BASELINE, WITHOUT_MODEL, corpus_rows


def test_an_interrupted_corpus_run_says_what_is_kept(ruie, tmp_path, monkeypatch):
    def copy_answer(prompt):
        if "Lima" in prompt:
            raise KeyboardInterrupt
        return "city: Oslo"

    monkeypatch.setattr("ruie_components.chat.baseline.copy_answer", copy_answer)
    (tmp_path / "in.txt").write_text("Fly me to Oslo.\nFly me to Lima.\n", "utf-8")
    status, _, err = ruie("extract", "in.txt", "--out", "run", *BASELINE[:-2], "-k", "0", "--concurrency", "1")
    assert (status, "documents with a row in run: 1; the same command resumes" in err) == (130, True), err


def test_extract_takes_a_corpus_in_parts_with_a_budget_and_shards(ruie, tmp_path):
    cities = ["Oslo", "Lima", "Rome", "Paris", "Lisbon"]
    rows = [{"id": f"d{i}", "text": f"Fly me to {city}. It is far."} for i, city in enumerate(cities)]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, out, err = ruie("extract", "docs.jsonl", "--out", "run", *BASELINE, "--max-calls", "2", "--json")
    assert (status, json.loads(out)["documents"], json.loads(out)["stopped"]) == (1, 2, "the budget of 2 calls"), err
    status, out, err = ruie("extract", "docs.jsonl", "--out", "run", *BASELINE, "--price", "1", "2")
    assert status == 0, err
    assert "5 documents in run; 2 of them from before" in err
    assert "of the tokens read repeat the beginning of the previous prompt" in err
    assert [row["id"] for row in corpus_rows(tmp_path / "run")] == [row["id"] for row in rows]
    for i in (1, 2):
        assert ruie("extract", "docs.jsonl", "--out", f"s{i}", *BASELINE, "--shard", f"{i}/2")[0] == 0
    assert ruie("merge", "s1", "s2", "--out", "merged")[0] == 0
    merged, whole = (corpus_rows(tmp_path / name) for name in ("merged", "run"))
    assert [row["extraction"] for row in merged] == [row["extraction"] for row in whole]
    assert ruie("extract", "docs.jsonl", "--out", "r.jsonl", *BASELINE)[0] == 2
    status, _, err = ruie("extract", "docs.jsonl", "--out", "r", *BASELINE, "--max-cost", "1")
    assert (status, "it needs --price too" in err) == (2, True), err
    status, _, err = ruie("extract", "Fly me to Oslo.", *BASELINE, "--shard", "1/2")
    assert (status, "--shard is for a corpus" in err) == (2, True), err
    status, _, err = ruie("extract", "docs.jsonl", "--out", "new", *BASELINE, "--shard", "3/2")
    assert (status, "expected I/N" in err) == (2, True), err


def test_a_corpus_names_its_first_failure_and_its_folder_is_a_file_of_results(ruie, tmp_path, monkeypatch):
    def copy_answer(prompt):
        if "Lima" in prompt:
            raise ValueError("no answer about Lima")
        return "city: Oslo"

    monkeypatch.setattr("ruie_components.chat.baseline.copy_answer", copy_answer)
    (tmp_path / "in.txt").write_text("Fly me to Oslo.\nFly me to Lima.\n", "utf-8")
    status, _, err = ruie("extract", "in.txt", "--out", "run", *BASELINE[:-2], "-k", "0")
    assert (status, "the first failure: " in err, "no answer about Lima" in err) == (1, True, True), err
    assert ruie("report", "run", "--out", "page.html")[1] == "2 results in page.html.\n"
    assert ruie("export", "run", "--to", "spans.csv")[1] == "1 example in spans.csv (csv).\n"


def test_results_that_are_no_examples_are_left_out_of_an_export_and_counted(ruie, tmp_path):
    folder = tmp_path / "articles"
    folder.mkdir()
    for name, text in {"a.txt": "Fly me to Oslo.", "b.txt": "\n"}.items():
        (folder / name).write_text(text, "utf-8")
    assert ruie("extract", "articles", "--out", "run", *BASELINE)[0] == 0
    status, out, err = ruie("export", "run", "--to", "run.json", "--format", "label-studio")
    assert (status, out.splitlines()[0]) == (0, "1 example in run.json (label-studio)."), err
    assert "note: results without a text are left out (1)" in err
    event = ("--task", "EAE", "--event", "attack: bombed", "--label", "place")
    assert ruie("extract", "They attacked the town.", *event, "--out", "e.jsonl")[0] == 0
    status, _, err = ruie("export", "e.jsonl", "--to", "e.json", "--format", "label-studio")
    assert (status, "there are no examples to export" in err) == (1, True), err


def test_a_budget_says_what_resumes_the_run(ruie, tmp_path):
    (tmp_path / "in.txt").write_text("Fly me to Oslo.\nFly me to Lima.\n", "utf-8")
    command = ("extract", "in.txt", "--out", "run", *BASELINE, "--max-calls")
    for _ in range(2):  # the second run spends nothing
        status, _, err = ruie(*command, "1")
        assert (status, "the budget of 1 call; the same command with a higher one resumes" in err) == (1, True), err
    status, _, err = ruie(*command, "2")
    assert (status, "2 documents in run; 1 of them from before" in err) == (0, True), err
    status, _, err = ruie("report", ".", "--out", "page.html")
    assert (status, ". is a folder without results.jsonl" in err) == (1, True), err


def test_a_pool_that_changes_between_two_commands_is_told_in_one_line(ruie, pool, tmp_path):
    lines = pool.read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "fewer.jsonl").write_text("".join(lines[1:]), "utf-8")
    (tmp_path / "in.txt").write_text("Fly me to Oslo.\nFly me to Lima.\nFly me to Rome.\n", "utf-8")
    extract = ["extract", "in.txt", "--out", "run", "--store", "store", "-m", "baseline", "--label", "city"]
    assert ruie("index", pool, "--store", "store")[0] == 0
    for calls in ("1", "1"):
        status, _, err = ruie(*extract, "--max-calls", calls)
        assert (status, "warning" in err) == (1, False), err
    assert ruie("sync", "fewer.jsonl", "--store", "store")[0] == 0
    main = "from ruie_components.cli.app import main; main()"
    command = [sys.executable, "-c", main, *extract]  # in a process of its own: in this one warnings are errors
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    told = (
        "warning: the pool 'default' has changed since rows in run were made "
        f"(NER: {len(lines)} examples then, {len(lines) - 1} now), so earlier and later rows come from different "
        "demonstrations: to make all with the pool as it is, start over with --overwrite (overwrite=True)"
    )
    assert (done.returncode, told in done.stderr.splitlines()) == (0, True), done.stderr


def test_openai_batch_files_are_written_and_read_back(ruie, tmp_path):
    (tmp_path / "docs.txt").write_text("Fly me to Oslo.\nFly me to Lima.\n")
    status, _, err = ruie("extract", "docs.txt", "--out", "batch", *WITHOUT_MODEL, "--openai-batch", "gpt-x")
    assert status == 0, err
    requests = [json.loads(line) for line in (tmp_path / "batch" / "requests-00000.jsonl").read_text().splitlines()]
    (tmp_path / "answers").mkdir()
    with (tmp_path / "answers" / "out.jsonl").open("w") as file:
        for request in reversed(requests):
            city = request["body"]["messages"][-1]["content"].split("Fly me to ")[1].split(".")[0]
            body = {"choices": [{"message": {"content": f"city: {city}"}, "finish_reason": "stop"}]}
            file.write(
                json.dumps({"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}}) + "\n"
            )
    options = [*WITHOUT_MODEL, "-m", "openai-batch:answers"]
    status, _, err = ruie("extract", "docs.txt", "--out", "run", *options)
    assert status == 0, err
    assert [row["extraction"]["entities"][0]["text"] for row in corpus_rows(tmp_path / "run")] == ["Oslo", "Lima"]


def test_options_of_batch_requests_go_into_their_bodies(ruie, tmp_path):
    (tmp_path / "docs.txt").write_text("Fly me to Oslo.\n")
    options = ("--model-option", "temperature=null", "--model-option", "max_tokens=99")
    status, _, err = ruie("extract", "docs.txt", "--out", "batch", *WITHOUT_MODEL, "--openai-batch", "gpt-x", *options)
    assert status == 0, err
    body = json.loads((tmp_path / "batch" / "requests-00000.jsonl").read_text())["body"]
    assert (sorted(body), body["max_tokens"]) == (["max_tokens", "messages", "model"], 99)
    status, _, err = ruie(
        "extract", "docs.txt", "--out", "other", *WITHOUT_MODEL, "--openai-batch", "gpt-x", "--model-option", "model=y"
    )
    assert (status, "'model' of a request is given" in err, (tmp_path / "other").exists()) == (2, True, False), err


def test_a_folder_without_answers_is_refused_before_anything_is_written(ruie, tmp_path):
    (tmp_path / "docs.txt").write_text("Fly me to Oslo.\n")
    (tmp_path / "answers").mkdir()
    status, _, err = ruie("extract", "docs.txt", "--out", "run", *WITHOUT_MODEL, "-m", "openai-batch:answers")
    assert (status, "answers holds no answers (*.jsonl)" in err, (tmp_path / "run").exists()) == (1, True, False), err


def test_a_corpus_names_the_command_of_its_report(ruie, tmp_path):
    (tmp_path / "docs.txt").write_text("Fly me to Oslo.\n")
    status, _, err = ruie("extract", "docs.txt", "--out", "run", *BASELINE, "--report", "page.html")
    assert status == 2
    assert "call ruie report run/results.jsonl --out page.html afterwards" in " ".join(err.replace("│", " ").split())
    assert ruie("extract", "docs.txt", "--out", "run", *BASELINE)[0] == 0
    status, _, err = ruie("report", "run/results.jsonl", "--out", "page.html")
    assert status == 0, err
    assert "Oslo" in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.parametrize(
    "option",
    [["--max-calls", "0"], ["--max-total-tokens", "9"], ["--max-cost", "1"], ["--price", "1", "2"], ["--retry-failed"],
     ["--parquet"], ["--overwrite"], ["--model", "baseline"]],
    ids=lambda option: option[0],
)  # fmt: skip
def test_options_that_mean_nothing_for_batch_files_are_refused(ruie, tmp_path, option):
    (tmp_path / "docs.txt").write_text("Fly me to Oslo.\n")
    status, _, err = ruie("extract", "docs.txt", "--out", "batch", *WITHOUT_MODEL, "--openai-batch", "gpt-x", *option)
    assert status == 2
    assert f"{option[0]} has no meaning with --openai-batch" in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "batch").exists()


def test_results_inside_their_corpus_are_refused(ruie, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("Oslo.")
    status, _, err = ruie("extract", "docs", "--out", "docs/run", *BASELINE)
    assert status == 2
    assert "is inside docs" in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "docs" / "run").exists()
