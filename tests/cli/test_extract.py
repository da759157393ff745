"""`ruie extract`: what it reads and writes, texts of any length, and what it refuses to overwrite."""

import csv
import json
import os
import subprocess
import sys

import pytest

from ruie_components.chat import Response

from .extraction import BASELINE, corpus_rows


def test_extract_reads_files_and_goes_on_where_it_stopped(ruie, pool, tmp_path):
    ruie("index", pool, "--store", "s")
    status, _, err = ruie("extract", "--file", pool, "-s", "s", "--out", "found.jsonl")
    assert status == 0, err
    assert err.endswith("90 results in found.jsonl\n")
    lines = (tmp_path / "found.jsonl").read_text("utf-8").splitlines()
    asked = [json.loads(line)["text"] for line in pool.read_text("utf-8").splitlines()]
    assert [json.loads(line)["extraction"]["text"] for line in lines] == asked
    ruie("extract", "--file", pool, "-s", "s", "--out", "found.jsonl")
    assert (tmp_path / "found.jsonl").read_text("utf-8").splitlines() == lines
    _, _, err = ruie("extract", "--file", pool, "-s", "s", "--out", "found.jsonl")
    assert err.endswith("90 results in found.jsonl, all from before, so the model was not called\n")
    status, _, err = ruie("extract", "--file", pool, "-s", "s", "--out", "found.jsonl", "-k", "1")
    assert status == 1
    assert "found.jsonl holds 90 results made with another model or other settings" in err
    assert (tmp_path / "found.jsonl").read_text("utf-8").splitlines() == lines
    status, _, err = ruie("extract", "--file", pool, "-s", "s", "--out", "found.jsonl", "-k", "1", "--overwrite")
    assert (status, len((tmp_path / "found.jsonl").read_text("utf-8").splitlines())) == (0, 90)
    (tmp_path / "texts.txt").write_text("Oslo is in Norway.\n\nLima is in Peru.\n", "utf-8")
    status, out, _ = ruie("extract", "--file", "texts.txt", "-s", "s")
    assert [json.loads(line)["extraction"]["text"] for line in out.splitlines()] == [
        "Oslo is in Norway.",
        "Lima is in Peru.",
    ]


def test_extract_says_how_many_results_are_from_before(ruie, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("Fly me to Oslo.\nLima is in Peru.\n", "utf-8")
    for out in "found.jsonl", "spans.csv":
        command = ("extract", "--file", "texts.txt", "--out", out, *BASELINE)
        beside = "; complete results in spans.csv.results.jsonl" if out == "spans.csv" else ""
        assert ruie(*command)[2].endswith(f"2 results in {out}{beside}\n")
        told = f"2 results in {out}, all from before, so the model was not called{beside}\n"
        assert ruie(*command)[2].endswith(told)
    with texts.open("a", encoding="utf-8") as file:
        file.write("Bonn is on the Rhine.\n")
    command = ("extract", "--file", "texts.txt", "--out", "found.jsonl", *BASELINE)
    assert ruie(*command)[2].endswith("3 results in found.jsonl, 2 of them from before\n")
    assert json.loads(ruie(*command, "--json")[1])["resumed"] == 3
    long = ("extract", "--file", "texts.txt", "--out", "chunked.jsonl", *BASELINE, "--chunk-tokens", "100")
    texts.write_text("It rained. " * 200 + "\nFly me to Oslo.\n", "utf-8")
    assert ruie(*long)[2].endswith("2 results in chunked.jsonl\n")
    assert ruie(*long)[2].endswith("2 results in chunked.jsonl, all from before, so the model was not called\n")


def test_a_text_can_be_piped_in(ruie):
    status, out, _ = ruie("prompt", "-t", "NER", "-l", "person", "-k", "0", stdin="Ada slept.\n")
    assert status == 0
    assert 'Input: "Ada slept."' in out


def test_a_text_and_a_file_are_one_too_many(ruie, pool):
    status, _, err = ruie("extract", "Oslo.", "--file", pool, "-t", "NER")
    assert status == 2
    assert "a text or --file, not both" in " ".join(err.split())


def test_a_table_of_spans(ruie, tmp_path):
    (tmp_path / "texts.txt").write_text('She, "Eva", flew to Lima.\nnothing\n', "utf-8")
    status, _, err = ruie("extract", "--file", "texts.txt", "-t", "NER", "-k", "8", "--out", "spans.csv")
    assert status == 0
    assert "2 results in spans.csv; complete results in spans.csv.results.jsonl" in err
    rows = list(csv.DictReader((tmp_path / "spans.csv").read_text("utf-8").splitlines()))
    assert rows
    for row in rows:
        assert row["text"][int(row["start"]) : int(row["end"])] == row["span"]
        assert (row["task"], row["role"]) == ("NER", "entity")


def test_a_path_without_out_is_not_a_text(ruie, tmp_path):
    (tmp_path / "texts.txt").write_text("Oslo.\n", "utf-8")
    status, _, err = ruie("extract", "texts.txt", *BASELINE)
    assert status == 2
    assert "texts.txt is a file: give it with --file, or add --out RUN" in " ".join(err.replace("│", " ").split())
    status, out, err = ruie("extract", "See texts.txt", *BASELINE, "--json")
    assert (status, json.loads(out)["extraction"]["text"]) == (0, "See texts.txt"), err


@pytest.mark.parametrize("arguments", [
    ["extract", "--file", "in.csv", "--out", "in.csv"],
    ["extract", "--file", "in.csv", "--out", "./in.csv", "--overwrite"],
    ["extract", "--file", "in.csv", "--report", "in.csv"],
    ["extract", "--file", "in.csv", "--report", "link.csv"],
    ["extract", "--file", "t.csv.results.jsonl", "--out", "t.csv"],
    ["extract", "--file", "in.csv", "--out", "new.jsonl", "--report", "new.jsonl"],
    ["report", "in.csv", "--out", "in.csv"],
    ["report", "t.csv.results.jsonl", "--gold", "in.csv", "--out", "in.csv"],
])  # fmt: skip
def test_an_output_that_is_an_input_is_refused(ruie, tmp_path, arguments):
    (tmp_path / "in.csv").write_text("id,text\n1,Oslo is far.\n", "utf-8")
    (tmp_path / "link.csv").hardlink_to(tmp_path / "in.csv")
    (tmp_path / "t.csv.results.jsonl").write_text('{"text": "Oslo."}\n', "utf-8")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    status, _, err = ruie(*arguments, *(BASELINE if arguments[0] == "extract" else ()))
    assert (status, "and would be overwritten: give another file" in " ".join(err.replace("│", " ").split())) == (
        2,
        True,
    )
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_table_of_something_else_is_replaced_only_when_told(ruie, tmp_path):
    (tmp_path / "in.txt").write_text("Fly me to Oslo.\n", "utf-8")
    (tmp_path / "sales.csv").write_text("a,b\n", "utf-8")
    command = ("extract", "--file", "in.txt", "--out", "sales.csv", *BASELINE)
    status, _, err = ruie(*command)
    assert (status, "sales.csv exists and has no sales.csv.results.jsonl beside it" in err) == (1, True), err
    assert (tmp_path / "sales.csv").read_text("utf-8") == "a,b\n"
    assert ruie(*command, "--overwrite")[0] == 0
    assert ruie(*command)[0] == 0
    assert "Oslo" in (tmp_path / "sales.csv").read_text("utf-8")


def test_overwriting_asks_again_with_the_same_settings_too(ruie, tmp_path, monkeypatch):
    (tmp_path / "in.txt").write_text("Fly me to Oslo.\n" + "It rained. " * 200 + "\n", "utf-8")
    commands = [
        ("extract", "--file", "in.txt", "--out", "o.jsonl", *BASELINE, "--chunk-tokens", "0"),
        ("extract", "--file", "in.txt", "--out", "chunked.jsonl", *BASELINE, "--chunk-tokens", "100"),
        ("extract", "in.txt", "--out", "run", *BASELINE),
    ]
    for command in commands:
        assert ruie(*command)[0] == 0
    asked = []
    monkeypatch.setattr(
        "ruie_components.chat.baseline.copy_answer", lambda prompt: asked.append(prompt) or "city: Oslo"
    )
    for command in commands:
        assert ruie(*command)[0] == 0
        assert asked == []
        assert ruie(*command, "--overwrite")[0] == 0
        assert asked.pop()
        asked.clear()


def test_rows_without_a_text_are_left_out_and_counted(ruie, pool, tmp_path):
    (tmp_path / "in.csv").write_text("id,text\n1,Fly me to Oslo.\n2,\n3, \n", "utf-8")
    status, _, err = ruie("extract", "--file", "in.csv", "--out", "o.jsonl", *BASELINE)
    assert (status, "in.csv: CSV with a header, 1 text, rows without a text left out: 2" in err) == (0, True), err
    (tmp_path / "empty.txt").write_text("\n", "utf-8")
    ruie("index", pool, "--store", "s")
    status, _, err = ruie("suggest", "empty.txt", "--store", "s")
    assert (status, "empty.txt: there are no texts in it" in err) == (1, True), err


def test_suggest_says_why_it_gives_fewer_texts(ruie, pool, tmp_path):
    (tmp_path / "in.txt").write_text("The harbour of Lima was closed.\nThe harbour of Lima was closed.\n", "utf-8")
    ruie("index", pool, "--store", "s")
    status, _, err = ruie("suggest", "in.txt", "--store", "s")
    assert (status, "1 text, best first" in err, "All others are in the pool, or repeat a text." in err) == (
        0,
        True,
        True,
    )


def test_a_label_that_the_pool_does_not_have_is_told(ruie, pool):
    ruie("index", pool, "--store", "s")
    status, _, err = ruie(
        "retrieve", "Fly me to Oslo.", "--store", "s", "-t", "NER", "-l", "no-such-label", "-l", "city"
    )
    assert (status, "has no label 'no-such-label', so no demonstration shows it; its labels are" in err) == (0, True), (
        err
    )


def test_results_are_not_written_into_files_of_another_kind(ruie, tmp_path):
    (tmp_path / "in.txt").write_text("Fly me to Oslo.\n", "utf-8")
    status, _, err = ruie("extract", "--file", "in.txt", "--out", "o.xlsx", *BASELINE)
    assert (status, "results are JSON Lines (.jsonl)" in " ".join(err.split())) == (2, True), err


def test_texts_in_another_encoding(ruie, pool, tmp_path):
    (tmp_path / "docs").mkdir()
    for path in (tmp_path / "docs" / "a.txt", tmp_path / "in.csv"):
        path.write_bytes("id,text\n1,Fly me to Zürich.\n".encode("latin-1"))
    ruie("index", pool, "--store", "s")
    for command in (
        ("extract", "docs", "--out", "run", *BASELINE),
        ("extract", "in.csv", "--out", "run2", *BASELINE),
        ("extract", "--file", "in.csv", "--out", "o.jsonl", *BASELINE),
        ("suggest", "in.csv", "--store", "s"),
    ):
        status, _, err = ruie(*command)
        assert (status, "not UTF-8" in err) == (1, True), err
        status, _, err = ruie(*command, "--encoding", "latin-1")
        assert status == 0, err
    assert [corpus_rows(tmp_path / name)[0]["extraction"]["text"].count("Zürich") for name in ("run", "run2")] == [1, 1]


def test_standard_input_in_another_encoding(tmp_path):
    def ruie(*options, **environment):
        code = "from ruie_components.cli.app import main; main()"
        command = [sys.executable, "-c", code, "extract", *BASELINE, "--json", *options]
        return subprocess.run(
            command, input="Fly me to Zürich.".encode("latin-1"), capture_output=True, cwd=tmp_path,
            env={**os.environ, **environment},
        )  # fmt: skip

    for environment in ({"PYTHONUTF8": "0", "LC_ALL": "C.UTF-8"}, {"LC_ALL": "C"}):
        done = ruie(**environment)
        assert (done.returncode, b"standard input is not UTF-8: convert it" in done.stderr) == (1, True), done.stderr
    done = ruie("--encoding", "latin-1")
    assert json.loads(done.stdout)["extraction"]["text"] == "Fly me to Zürich.", done.stderr


@pytest.mark.filterwarnings("ignore::ruie_components.extraction.AnswerTruncatedWarning")
def test_truncated_and_empty_answers_are_said_at_the_end(ruie, tmp_path, monkeypatch):
    def complete(self, prompt, **_):
        city = prompt.text.rsplit("Fly me to ")[-1].split(".")[0]
        return Response("" if city == "Oslo" else f"city: {city}", truncated=city == "Lima")

    monkeypatch.setattr("ruie_components.chat.baseline.CopyBaseline.complete", complete)
    (tmp_path / "in.txt").write_text("Fly me to Oslo.\nFly me to Lima.\nFly me to Rome.\n", "utf-8")
    status, _, err = ruie("extract", "in.txt", "--out", "run", *BASELINE)
    said = "1 with a truncated answer, 1 without an answer"
    assert (status, f"{said} (--retry-failed asks again)" in err) == (0, True), err
    status, _, err = ruie("extract", "--file", "in.txt", "--out", "o.jsonl", *BASELINE)
    assert (status, f"{said}; the same command asks again" in err) == (0, True), err
    status, out, _ = ruie("extract", "--file", "in.txt", "--out", "o.jsonl", *BASELINE, "--json")
    told = {"out": "o.jsonl", "results": 3, "resumed": 1, "failed": 0, "truncated": 1, "unanswered": 1}
    assert json.loads(out) == told


@pytest.mark.parametrize(
    ("name", "content", "layout"),
    [
        ("t.csv", "id,text,source\n7,Oslo is in Norway.,diary\n", "CSV with a header"),
        ("t.json", '[{"id": "7", "text": "Oslo is in Norway.", "source": "diary"}]', "a JSON array"),
        ("t.jsonl", '{"id": "7", "text": "Oslo is in Norway.", "source": "diary"}', "JSON Lines"),
    ],
)
def test_ids_and_other_keys_come_back(ruie, tmp_path, name, content, layout):
    (tmp_path / name).write_text(content, "utf-8")
    asked = ("extract", "--file", name, "-t", "NER", "-l", "city")
    status, out, err = ruie(*asked)
    assert (status, f"{name}: {layout}, 1 text" in err) == (0, True), err
    assert (json.loads(out)["id"], json.loads(out)["metadata"]) == ("7", {"source": "diary"})
    ruie(*asked, "--out", "o.jsonl")
    row = json.loads((tmp_path / "o.jsonl").read_text("utf-8"))
    assert (row["id"], row["metadata"]) == ("7", {"source": "diary"})
    ruie(*asked, "--out", "o.csv")
    lines = list(csv.DictReader((tmp_path / "o.csv").read_text("utf-8").splitlines()))
    assert {(line["id"], line["source"]) for line in lines} == {("7", "diary")}


def test_a_long_text_is_cut_and_its_spans_have_offsets_of_the_whole(ruie, tmp_path):
    text = "It rained. " * 200 + "Fly me to Oslo."
    status, out, err = ruie("extract", text, *BASELINE, "--json", "--chunk-tokens", "100")
    assert status == 0, err
    row = json.loads(out)
    assert len(row["chunks"]) > 4
    assert all(text[one["start"] : one["end"]] == one["text"] for one in row["extraction"].get("entities", []))
    report = text.replace("rained. It", "rained.\nIt") + "\n"  # of many lines, as in docs/how-to/corpora.md
    status, out, err = ruie("extract", *BASELINE, "--json", "--chunk-tokens", "100", stdin=report)
    assert (status, json.loads(out)["extraction"]["text"], len(json.loads(out)["chunks"]) > 4) == (0, report[:-1], True)
    (tmp_path / "long.txt").write_text(text)
    status, _, err = ruie("extract", "--file", "long.txt", "--out", "found.jsonl", *BASELINE, "--chunk-tokens", "100")
    assert status == 0, err
    assert json.loads((tmp_path / "found.jsonl").read_text())["extraction"]["text"] == text
    (tmp_path / "other.txt").write_text(f"Lima is far. {text}")
    for name in ("other.txt", "long.txt"):  # results of other texts stay in the file
        status, _, err = ruie("extract", "--file", name, "--out", "found.jsonl", *BASELINE, "--chunk-tokens", "100")
        assert status == 0, err
    texts = [json.loads(line)["extraction"]["text"] for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert texts == [f"Lima is far. {text}", text]
    status, _, err = ruie("extract", "--file", "long.txt", "--out", "found.jsonl", *BASELINE, "-k", "1")
    assert (status, "made with another model or other settings" in err) == (1, True)
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 2
    (tmp_path / "short.txt").write_text("Fly me to Oslo.")
    assert ruie("extract", "--file", "short.txt", "--out", "found.jsonl", *BASELINE)[0] == 0
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 3
    assert ruie("extract", "--file", "long.txt", "--out", "found.jsonl", *BASELINE, "--chunk-tokens", "0")[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    (whole,) = [row for row in rows if row["extraction"]["text"] == text]
    assert "chunks" not in whole  # asked as a whole, not taken from the chunks of the run before
    assert len(rows) == 3
