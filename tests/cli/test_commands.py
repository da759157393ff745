"""The command as a user runs it: real store, embedded encoder, offline baseline."""

import csv
import json
import os
import subprocess
import sys
from io import BytesIO, StringIO, TextIOWrapper

import pytest
from rich.console import Console

from ruie_components import DemonstrationStore, Extraction
from ruie_components.chat import Response
from ruie_components.cli import show
from ruie_components.extraction import ExtractionResult, Usage
from ruie_components.formats import write_examples
from ruie_components.starter import starter_examples
from ruie_components.store.tuned import TunedSettings


@pytest.fixture
def pool(tmp_path):
    """A file of starter NER examples, and a store that a test may make."""
    path = tmp_path / "pool.jsonl"
    write_examples(path, starter_examples("NER"))
    return path


def test_demo_shows_all_four_tasks_and_writes_the_report(ruie, tmp_path):
    status, out, _ = ruie("demo", "--model", "baseline")
    assert status == 0
    for name in ("Named entity recognition", "Relation extraction", "Event detection", "Event argument extraction"):
        assert name in out
    assert "Model: baseline, as given." in out
    assert "airline: Aurora Air 0-10" in out
    assert "tokens" in out
    assert (tmp_path / "report.html").read_text("utf-8").count("<article ") == 4


def test_index_then_retrieve_prompt_and_extract(ruie, pool):
    first = json.loads(ruie("index", pool, "--store", "s", "--json")[1])
    again = json.loads(ruie("index", pool, "--store", "s", "--json")[1])
    assert first["examples"] == again["examples"] == {"NER": 90}
    text = "Find me a flight from Rome to Vienna."
    found = json.loads(ruie("retrieve", text, "-s", "s", "-k", "3", "--json")[1])
    assert len(found) == 3
    assert found[0]["score"] == max(each["score"] for each in found)
    explained = json.loads(ruie("retrieve", text, "-s", "s", "-k", "3", "--json", "--explain")[1])
    assert [each.pop("reason")["method"] for each in explained] == ["similarity"] * 3
    assert explained == found
    assert "similarity, choice 1:" in ruie("retrieve", text, "-s", "s", "-k", "3", "--explain")[1]
    status, out, err = ruie("prompt", text, "-s", "s", "-l", "city", "-l", "price", "-k", "2")
    assert status == 0
    assert out.endswith(f'Schema: [city, price]\nInput: "{text}"\nOutput:\n')
    assert "tokens" in err
    status, out, _ = ruie("extract", "Fly from Oslo to Lima.", "-s", "s", "-l", "city", "--json")
    row = json.loads(out)
    assert {span["text"] for span in row["extraction"]["entities"]} == {"Oslo", "Lima"}
    assert len(row["demonstrations"]) == 8


def test_info_says_what_a_pool_holds(ruie, pool):
    ruie("index", pool, "--store", "s")
    ruie("index", pool, "--store", "s", "--pool", "spare")
    told = json.loads(ruie("info", "--store", "s", "--json")[1])
    labels = told["tasks"]["NER"].pop("labels")
    assert {"airline", "city"} < set(labels)
    assert told == {
        "store": "s",
        "pool": "default",
        "encoder": "embedded",
        "other_pools": ["spare"],
        "tasks": {"NER": {"examples": 90, "tuned": None}},
        "descriptions": {},
    }
    settings = TunedSettings(method="bm25", k=4)
    with DemonstrationStore.open("s") as store:
        store.set_tuned("NER", settings)
        store.describe_labels({"city": "A town."})
    status, out, _ = ruie("info", "--store", "s", "--check-index")
    assert status == 0
    for part in (
        "'default' in s (encoder: embedded)",
        "NER",
        "90",
        "bm25 k=4",
        "labels: city",
        "here: spare",
        "every row",
    ):
        assert part in " ".join(out.split())
    told = json.loads(ruie("info", "--store", "s", "--json", "--check-index")[1])
    assert told["tasks"]["NER"]["tuned"] == settings.model_dump(mode="json")
    assert (told["index_recall"], told["index_checked"]) == (None, 90)
    relations = starter_examples("RE")
    with DemonstrationStore.create(relations, path="s") as store:
        store.delete([example.content_id for example in relations])
    assert list(json.loads(ruie("info", "--store", "s", "--json")[1])["tasks"]) == ["NER"]
    status, _, err = ruie("info", "--store", "nowhere")
    assert status == 1
    assert "nowhere" in err


def test_extract_reads_files_and_goes_on_where_it_stopped(ruie, pool, tmp_path):
    ruie("index", pool, "--store", "s")
    status, _, err = ruie("extract", "--file", pool, "-s", "s", "--out", "found.jsonl")
    assert status == 0, err
    lines = (tmp_path / "found.jsonl").read_text("utf-8").splitlines()
    asked = [json.loads(line)["text"] for line in pool.read_text("utf-8").splitlines()]
    assert [json.loads(line)["extraction"]["text"] for line in lines] == asked
    ruie("extract", "--file", pool, "-s", "s", "--out", "found.jsonl")
    assert (tmp_path / "found.jsonl").read_text("utf-8").splitlines() == lines
    _, _, err = ruie("extract", "--file", pool, "-s", "s", "--out", "found.jsonl")
    assert err.endswith("90 results in found.jsonl\n")
    status, _, err = ruie("extract", "--file", pool, "-s", "s", "--out", "found.jsonl", "-k", "1")
    assert status == 1
    assert "found.jsonl holds 90 results that were made with another model or other settings" in err
    assert (tmp_path / "found.jsonl").read_text("utf-8").splitlines() == lines
    status, _, err = ruie("extract", "--file", pool, "-s", "s", "--out", "found.jsonl", "-k", "1", "--overwrite")
    assert (status, len((tmp_path / "found.jsonl").read_text("utf-8").splitlines())) == (0, 90)
    (tmp_path / "texts.txt").write_text("Oslo is in Norway.\n\nLima is in Peru.\n", "utf-8")
    status, out, _ = ruie("extract", "--file", "texts.txt", "-s", "s")
    assert [json.loads(line)["extraction"]["text"] for line in out.splitlines()] == [
        "Oslo is in Norway.",
        "Lima is in Peru.",
    ]


MARKUP = "[/b] and [bold] and [red]Oslo[/red]"


def test_markup_in_texts_labels_and_paths_is_text(ruie, tmp_path, monkeypatch):
    monkeypatch.setattr("ruie_components.chat.baseline.copy_answer", lambda prompt: f"{MARKUP}: {MARKUP}")
    span = {"text": MARKUP, "start": 0, "end": len(MARKUP), "type": MARKUP}
    row = {"task": "NER", "text": MARKUP, "schema": [MARKUP], "entities": [span]}
    rows = tmp_path / "[red].jsonl"
    rows.write_text(json.dumps(row) + "\n", "utf-8")
    status, out, err = ruie("index", rows, "--store", "[red]s", "--pool", "default")
    assert (status, "in [red]s now holds 1 NER" in out) == (0, True), err
    status, out, err = ruie("retrieve", "Oslo [/b]", "-s", "[red]s", "-l", MARKUP)
    assert (status, MARKUP in out) == (0, True), err
    status, out, err = ruie("extract", f"See {MARKUP}", "-s", "[red]s", "-l", MARKUP)
    assert (status, f"{MARKUP}: {MARKUP} 4-{4 + len(MARKUP)}" in out) == (0, True), err
    status, _, err = ruie("extract", "--file", rows, "-s", "[red]s", "--out", "[red]o.jsonl")
    assert (status, "results in [red]o.jsonl" in err) == (0, True), err
    assert (tmp_path / "[red]o.jsonl").exists()


def test_markup_in_the_error_of_a_text_is_text(ruie, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError(MARKUP)

    monkeypatch.setattr("ruie_components.chat.baseline.copy_answer", fail)
    status, _, err = ruie("extract", "Oslo.", "-t", "NER", "-l", "city")
    assert (status, MARKUP in err) == (1, True), err
    status, out, err = ruie("demo", "--model", "baseline")
    assert (status, MARKUP in out) == (1, True), err


def test_a_text_that_failed_is_not_shown_as_one_with_nothing_in_it(ruie):
    status, out, err = ruie("extract", "Oslo.", "-t", "NER", "-l", "city", "-m", "ollama:llama3.1")
    assert (status, "no answer" in out, "nothing extracted" in out) == (1, True, False), err
    assert "ollama serve" in err


# One character that ASCII lacks, and one that no encoding takes: a model may say half a surrogate pair.
@pytest.mark.parametrize("said", ["city: Zürich", "city: \ud83d"], ids=["not in ASCII", "half a pair"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_character_ends_a_command(ruie, monkeypatch, tmp_path, said, encoding):
    monkeypatch.setattr("ruie_components.chat.baseline.copy_answer", lambda prompt: said)
    for as_json in (True, False):
        written = BytesIO()
        monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, encoding))
        question = ("extract", "From Zürich.", "-t", "NER", "-l", "city", "--report", "new/page.html")
        status, _, err = ruie(*question, *(["--json"] if as_json else []))
        sys.stdout.flush()
        out = written.getvalue().decode(encoding)
        assert (status, (tmp_path / "new" / "page.html").exists()) == (0, True), err
        if as_json:
            assert json.loads(out)["extraction"]["answer"] == said
        else:
            assert f"From {'Zürich' if encoding == 'utf-8' else 'Z?rich'}" in out


def test_a_cut_answer_is_shown_as_cut():
    extraction = Extraction(task="NER", text="Oslo.", labels=["city"])
    shown = StringIO()
    for cut in (False, True):
        show.result(Console(file=shown), ExtractionResult(extraction, None, Usage(truncated=cut)), as_json=False)
    assert shown.getvalue().count("the answer was truncated") == 1


def test_what_was_left_out_is_shown_with_its_reason_and_its_label_if_it_has_one(ruie, monkeypatch):
    monkeypatch.setattr("ruie_components.chat.baseline.copy_answer", lambda _: "Sure!\ncity: Oslo; city: Rome")
    _, out, _ = ruie("extract", "From Oslo.", "-t", "NER", "-l", "city")
    assert out.splitlines()[2:] == ["  left out, unreadable: Sure!", "  left out, ungrounded: city: Rome"]


def test_a_text_can_be_piped_in(ruie):
    status, out, _ = ruie("prompt", "-t", "NER", "-l", "person", "-k", "0", stdin="Ada slept.\n")
    assert status == 0
    assert 'Input: "Ada slept."' in out


def test_a_long_path_stays_on_one_line(ruie, pool, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    long = tmp_path / ("long-" * 20)
    for arguments in (["index", pool, "-s", long], ["demo", "--model", "baseline", "--report", long / "page.html"]):
        _, out, _ = ruie(*arguments)
        assert str(long) in out
    _, _, err = ruie("extract", "Oslo.", "-s", long, "--out", long / "found.jsonl")
    assert str(long) in err


def test_a_text_and_a_file_are_one_too_many(ruie, pool):
    status, _, err = ruie("extract", "Oslo.", "--file", pool, "-t", "NER")
    assert status == 2
    assert "a text or --file, not both" in " ".join(err.split())


def test_an_event_is_asked_about(ruie):
    event = ("--event", "power outage: cut power")
    status, out, _ = ruie("prompt", "A tree cut power.", "-t", "eae", "-l", "cause", "-k", "1", *event)
    assert status == 0
    assert 'Given event trigger: "power outage: cut power"; Candidate arguments: [cause]' in out


@pytest.mark.parametrize(
    ("event", "query"),
    [
        ("Conflict:Attack: attacked", "Conflict:Attack: attacked"),
        ("attack:attacked", "attack: attacked"),
        ("a:b:attacked", "a:b: attacked"),
        ("meeting: 12:30", "meeting: 12:30"),
    ],
)
def test_event_types_and_triggers_may_have_colons(ruie, event, query):
    status, out, _ = ruie(
        "prompt", "It was attacked at 12:30.", "-t", "eae", "-l", "cause", "-k", "0", "--event", event
    )
    assert status == 0
    assert f'Given event trigger: "{query}"' in out


def test_the_baseline_says_that_it_answers(ruie):
    _, _, err = ruie("extract", "Ada slept.", "-t", "NER")
    assert "No --model: the offline baseline answers" in err
    _, _, err = ruie("extract", "Ada slept.", "-t", "NER", "--model", "baseline")
    assert err == ""


def test_a_table_of_spans(ruie, tmp_path):
    (tmp_path / "texts.txt").write_text('She, "Eva", flew to Lima.\nnothing\n', "utf-8")
    status, _, err = ruie("extract", "--file", "texts.txt", "-t", "NER", "--out", "spans.csv")
    assert status == 0
    assert "2 results in spans.csv; complete results in spans.csv.results.jsonl" in err
    rows = list(csv.DictReader((tmp_path / "spans.csv").read_text("utf-8").splitlines()))
    assert rows
    for row in rows:
        assert row["text"][int(row["start"]) : int(row["end"])] == row["span"]
        assert (row["task"], row["role"]) == ("NER", "entity")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-m", "ollama:llama3", "--model-option", "temprature=0"], "no option 'temprature'; it has"),
        (["-m", "ollama:llama3", "--model-option", "temperature=warm"], "temperature"),
        (["-m", "baseline", "--model-option", "temperature=0"], "the baseline has no options"),
        (["-m", "ollama:llama3", "--model-option", "temperature"], "expected KEY=VALUE"),
        (["-m", "ollama:llama3 temprature=0"], "no option 'temprature'; it has"),
        (["-m", "gguf:no file.gguf mode=talk"], "mode must be"),
        (["-m", "gguf:no file.gguf mode=talk", "--model-option", "mode=chat"], "got 'talk'"),
    ],
)
def test_wrong_model_options(ruie, options, message):
    status, _, err = ruie("extract", "Ada slept.", "-t", "NER", *options)
    assert status == 2
    assert message in " ".join(err.split())


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["retrieve", "x", "-s", "nowhere"], 1, "nowhere"),
        (["retrieve", "x"], 2, 'NER, RE, ED, EAE: give task="NER" (--task NER)'),
        (["retrieve", "x", "-t", "POS"], 2, "POS"),
        (["retrieve", " ", "-t", "NER"], 2, "error: text is empty"),
        (["extract", "Oslo \udcff", "-t", "NER"], 2, "error: text: '\\udcff' at 5 is half of a surrogate pair"),
        (["retrieve", "x", "-t", "NER", "--method", "best"], 2, "best"),
        (["retrieve", "x", "-t", "NER", "-k", "-1"], 2, "-k"),
        (["prompt", "x" * 9000, "-t", "NER", "--max-tokens", "100"], 1, "split it"),
        (["prompt", "x", "-t", "EAE", "-l", "agent"], 2, '(--event "type: trigger")'),
        (["prompt", "x", "-t", "EAE", "-l", "agent", "--event", "no colon"], 2, "event type: trigger"),
        (["extract", "x", "-t", "NER", "--event", "a: b"], 2, "event arguments (EAE), and this is NER"),
        (["extract", "x", "-t", "NER", "--encoding", "latin-1"], 2, "for files and standard input"),
        (["extract", "hf:news", "-t", "NER"], 2, "hf:news is a data set: add --out RUN"),
        (["extract", "nofolder/", "--out", "RUN", "-t", "NER"], 2, "there is no nofolder/"),
        (["extract", "Texts.txt.gz", "-t", "NER"], 2, "there is no Texts.txt.gz"),
        (["extract", ".", "-t", "NER"], 2, ". is a folder: add --out RUN"),
        (["extract", "x", "-t", "NER", "-m", "openai-batch:NOPE/"], 1, "there is no NOPE: give the file"),
        (["extract", "x", "-t", "NER", "-m", "gpt"], 2, "is not the name of a chat model"),
        (["extract", "x", "-t", "NER", "-m", "ollama:llama3.1"], 1, "ollama serve"),
        (["index", "nothing.jsonl", "--store", "s"], 2, "nothing.jsonl"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_wrong_use_and_failed_work_say_what_to_do(ruie, arguments, status, message):
    code, _, err = ruie(*arguments)
    assert code == status, err
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_a_path_without_out_is_not_a_text(ruie, tmp_path):
    (tmp_path / "texts.txt").write_text("Oslo.\n", "utf-8")
    status, _, err = ruie("extract", "texts.txt", *CORPUS)
    assert status == 2
    assert "texts.txt is a file: give it with --file, or add --out RUN" in " ".join(err.replace("│", " ").split())
    status, out, err = ruie("extract", "See texts.txt", *CORPUS, "--json")
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
    status, _, err = ruie(*arguments, *(CORPUS if arguments[0] == "extract" else ()))
    assert (status, "and would be overwritten: give another file" in " ".join(err.replace("│", " ").split())) == (
        2,
        True,
    )
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_table_of_something_else_is_replaced_only_when_told(ruie, tmp_path):
    (tmp_path / "in.txt").write_text("Fly me to Oslo.\n", "utf-8")
    (tmp_path / "sales.csv").write_text("a,b\n", "utf-8")
    command = ("extract", "--file", "in.txt", "--out", "sales.csv", *CORPUS)
    status, _, err = ruie(*command)
    assert (status, "sales.csv exists and has no sales.csv.results.jsonl beside it" in err) == (1, True), err
    assert (tmp_path / "sales.csv").read_text("utf-8") == "a,b\n"
    assert ruie(*command, "--overwrite")[0] == 0
    assert ruie(*command)[0] == 0
    assert "Oslo" in (tmp_path / "sales.csv").read_text("utf-8")


def test_overwriting_asks_again_with_the_same_settings_too(ruie, tmp_path, monkeypatch):
    (tmp_path / "in.txt").write_text("Fly me to Oslo.\n" + "It rained. " * 200 + "\n", "utf-8")
    commands = [
        ("extract", "--file", "in.txt", "--out", "o.jsonl", *CORPUS, "--chunk-tokens", "0"),
        ("extract", "--file", "in.txt", "--out", "chunked.jsonl", *CORPUS, "--chunk-tokens", "100"),
        ("extract", "in.txt", "--out", "run", *CORPUS),
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
    status, _, err = ruie("extract", "--file", "in.csv", "--out", "o.jsonl", *CORPUS)
    assert (status, "in.csv: CSV with a header, 1 texts, rows without a text left out: 2" in err) == (0, True), err
    (tmp_path / "empty.txt").write_text("\n", "utf-8")
    ruie("index", pool, "--store", "s")
    status, _, err = ruie("suggest", "empty.txt", "--store", "s")
    assert (status, "empty.txt: there are no texts in it" in err) == (1, True), err


def test_texts_in_another_encoding(ruie, pool, tmp_path):
    (tmp_path / "docs").mkdir()
    for path in (tmp_path / "docs" / "a.txt", tmp_path / "in.csv"):
        path.write_bytes("id,text\n1,Fly me to Zürich.\n".encode("latin-1"))
    ruie("index", pool, "--store", "s")
    for command in (
        ("extract", "docs", "--out", "run", *CORPUS),
        ("extract", "in.csv", "--out", "run2", *CORPUS),
        ("extract", "--file", "in.csv", "--out", "o.jsonl", *CORPUS),
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
        command = [sys.executable, "-c", code, "extract", *CORPUS, "--json", *options]
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
    status, _, err = ruie("extract", "in.txt", "--out", "run", *CORPUS)
    said = "1 with a truncated answer, 1 without an answer"
    assert (status, f"{said} (repeat them with --retry-failed)" in err) == (0, True), err
    status, _, err = ruie("extract", "--file", "in.txt", "--out", "o.jsonl", *CORPUS)
    assert (status, f"{said}; the same command repeats them" in err) == (0, True), err
    status, out, _ = ruie("extract", "--file", "in.txt", "--out", "o.jsonl", *CORPUS, "--json")
    assert json.loads(out) == {"out": "o.jsonl", "results": 3, "failed": 0, "truncated": 1, "unanswered": 1}


def test_an_interrupted_corpus_run_says_what_is_kept(ruie, tmp_path, monkeypatch):
    def copy_answer(prompt):
        if "Lima" in prompt:
            raise KeyboardInterrupt
        return "city: Oslo"

    monkeypatch.setattr("ruie_components.chat.baseline.copy_answer", copy_answer)
    (tmp_path / "in.txt").write_text("Fly me to Oslo.\nFly me to Lima.\n", "utf-8")
    status, _, err = ruie("extract", "in.txt", "--out", "run", *CORPUS[:-2], "-k", "0", "--concurrency", "1")
    assert (status, "documents with a row in run: 1; the same command resumes" in err) == (130, True), err


def test_a_wrong_row_names_file_line_and_field(ruie, tmp_path):
    rows = tmp_path / "rows.jsonl"
    good = starter_examples("NER")[0].to_row()
    wrong = {**good, "entities": [{"text": "Ada", "type": good["schema"][0], "start": 0, "end": 3}]}
    rows.write_text(f"{json.dumps(good)}\n{json.dumps(wrong)}\n", "utf-8")
    status, _, err = ruie("index", rows, "--store", "s")
    assert status == 1
    assert "rows.jsonl, line 2: " in " ".join(err.split())
    assert "is not the text at 0:3" in " ".join(err.split())


def test_retrieval_imports_neither_torch_nor_transformers():
    code = (
        "import sys; sys.argv = ['ruie', 'retrieve', 'Oslo', '-t', 'NER', '-l', 'city', '-k', '1']\n"
        "from ruie_components.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as left: assert not left.code, left.code\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers', 'llama_index'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


WITHOUT_THE_EXTRA = """
import sys
sys.modules |= dict.fromkeys(["torch", "transformers", "sentence_transformers", "datasets", "sklearn", "numba"])
from ruie_components import DemonstrationStore
from ruie_components.cli.app import main
from ruie_components.starter import starter_examples
with DemonstrationStore.create(starter_examples("NER"), path="s") as store:
    pass
for arguments in (["adapt", "--store", "s", "--steps", "1"], ["train", "small", "--data", ".", "--out", "run"]):
    sys.argv = ["ruie", *arguments]
    try:
        main()
    except SystemExit as left:
        print(left.code)
"""


def test_adapting_needs_no_extra_and_training_without_it_names_the_pip_line(tmp_path):
    done = subprocess.run([sys.executable, "-c", WITHOUT_THE_EXTRA], capture_output=True, text=True, cwd=tmp_path)
    *_, adapted, trained = done.stdout.splitlines()
    assert (adapted, trained) == ("0", "1"), done.stderr
    assert done.stderr.count('pip install "ruie-components[train]"') == 1


def test_report_shows_finished_results_with_their_demonstrations_and_gold_annotations(ruie, pool, tmp_path):
    ruie("index", pool, "--store", "s")
    lines = pool.read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "inputs.jsonl").write_text("".join(lines[:12]), "utf-8")
    (tmp_path / "gold.jsonl").write_text("".join(lines[:10]), "utf-8")
    ruie("extract", "--file", "inputs.jsonl", "-s", "s", "--out", "found.jsonl")
    with (tmp_path / "found.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"key": "cut off')  # as by a run that was killed
    status, out, err = ruie("report", "found.jsonl", "-s", "s", "--gold", "gold.jsonl", "--out", "a.html", "--json")
    summary = json.loads(out)
    assert (status, summary["results"], summary["gold"]) == (0, 12, 10), err
    page = (tmp_path / "a.html").read_text("utf-8")
    assert page.count("<article ") == page.count("8 demonstrations, best first") == page.count("The prompt<") == 12
    assert page.count("Gold annotations</h3>") == 10
    assert page.count('no-gold-annotations"') == 3  # two results and the filter
    assert f"F1 {summary['f1']:.1%}" in page
    status, out, _ = ruie("report", "found.jsonl", "--out", "b.html")
    assert (status, out) == (0, "12 results in b.html.\n")
    assert "The prompt<" not in (tmp_path / "b.html").read_text("utf-8")


def test_report_shows_the_demonstrations_of_every_chunk(ruie, pool, tmp_path):
    ruie("index", pool, "--store", "s")
    text = "It rained. " * 60 + "Fly me to Oslo."
    (tmp_path / "long.txt").write_text(text)
    options = ("-t", "NER", "-l", "city", "-k", "2", "--chunk-tokens", "64", "-m", "baseline")
    assert ruie("extract", "--file", "long.txt", "-s", "s", "--out", "found.jsonl", *options)[0] == 0
    chunks = json.loads((tmp_path / "found.jsonl").read_text())["chunks"]
    status, _, err = ruie("report", "found.jsonl", "-s", "s", "--out", "a.html")
    assert (status, "without prompt" in err) == (0, False), err
    page = (tmp_path / "a.html").read_text("utf-8")
    for chunk in chunks:
        assert f"Characters {chunk['start']} to {chunk['end']}: 2 demonstrations, best first" in page
    assert ruie("sync", pool, "--store", "t")[0] == 0
    with DemonstrationStore.open("t") as store:
        store.delete([row_id for row_id, _ in chunks[0]["demonstrations"]])
    status, _, err = ruie("report", "found.jsonl", "-s", "t", "--out", "b.html")
    assert (status, "1 of 1 results are shown without prompt" in err) == (0, True), err


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "holds no results"), ('{"text": "Ada"}\n', "line 1: not a row of a result: it has no 'extraction'"),
     ("oops\n{}\n", "line 1: not JSON"), ('{"extraction": {}}\n', "extraction: task: Field required")],
    ids=["empty", "another row", "no JSON", "no extraction"],
)  # fmt: skip
def test_report_says_what_is_wrong_with_its_file(ruie, tmp_path, content, message):
    (tmp_path / "found.jsonl").write_text(content, "utf-8")
    status, _, err = ruie("report", "found.jsonl")
    assert (status, message in err) == (1, True), err


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
    assert (status, f"{name}: {layout}, 1 texts" in err) == (0, True), err
    assert (json.loads(out)["id"], json.loads(out)["metadata"]) == ("7", {"source": "diary"})
    ruie(*asked, "--out", "o.jsonl")
    row = json.loads((tmp_path / "o.jsonl").read_text("utf-8"))
    assert (row["id"], row["metadata"]) == ("7", {"source": "diary"})
    ruie(*asked, "--out", "o.csv")
    lines = list(csv.DictReader((tmp_path / "o.csv").read_text("utf-8").splitlines()))
    assert {(line["id"], line["source"]) for line in lines} == {("7", "diary")}


def corpus_rows(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text("utf-8").splitlines()]


CORPUS = ("-t", "NER", "-l", "city", "-m", "baseline", "-k", "4")
UNSENT = (*CORPUS[:4], *CORPUS[6:])


def test_extract_takes_a_corpus_in_parts_with_a_budget_and_shards(ruie, tmp_path):
    cities = ["Oslo", "Lima", "Rome", "Paris", "Lisbon"]
    rows = [{"id": f"d{i}", "text": f"Fly me to {city}. It is far."} for i, city in enumerate(cities)]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, out, err = ruie("extract", "docs.jsonl", "--out", "run", *CORPUS, "--max-calls", "2", "--json")
    assert (status, json.loads(out)["documents"], json.loads(out)["stopped"]) == (1, 2, "the budget of 2 calls"), err
    status, out, err = ruie("extract", "docs.jsonl", "--out", "run", *CORPUS, "--price", "1", "2")
    assert status == 0, err
    assert "5 documents in run; 2 of them from before" in err
    assert "of the tokens read repeat the beginning of the previous prompt" in err
    assert [row["id"] for row in corpus_rows(tmp_path / "run")] == [row["id"] for row in rows]
    for i in (1, 2):
        assert ruie("extract", "docs.jsonl", "--out", f"s{i}", *CORPUS, "--shard", f"{i}/2")[0] == 0
    assert ruie("merge", "s1", "s2", "--out", "merged")[0] == 0
    merged, whole = (corpus_rows(tmp_path / name) for name in ("merged", "run"))
    assert [row["extraction"] for row in merged] == [row["extraction"] for row in whole]
    assert ruie("extract", "docs.jsonl", "--out", "r.jsonl", *CORPUS)[0] == 2
    status, _, err = ruie("extract", "Fly me to Oslo.", *CORPUS, "--shard", "1/2")
    assert (status, "--shard is for a corpus" in err) == (2, True), err
    status, _, err = ruie("extract", "docs.jsonl", "--out", "new", *CORPUS, "--shard", "3/2")
    assert (status, "expected I/N" in err) == (2, True), err


def test_openai_batch_files_are_written_and_read_back(ruie, tmp_path):
    (tmp_path / "docs.txt").write_text("Fly me to Oslo.\nFly me to Lima.\n")
    status, _, err = ruie("extract", "docs.txt", "--out", "batch", *UNSENT, "--openai-batch", "gpt-x")
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
    options = [*UNSENT, "-m", "openai-batch:answers"]
    status, _, err = ruie("extract", "docs.txt", "--out", "run", *options)
    assert status == 0, err
    assert [row["extraction"]["entities"][0]["text"] for row in corpus_rows(tmp_path / "run")] == ["Oslo", "Lima"]


def test_options_of_batch_requests_go_into_their_bodies(ruie, tmp_path):
    (tmp_path / "docs.txt").write_text("Fly me to Oslo.\n")
    options = ("--model-option", "temperature=null", "--model-option", "max_tokens=99")
    status, _, err = ruie("extract", "docs.txt", "--out", "batch", *UNSENT, "--openai-batch", "gpt-x", *options)
    assert status == 0, err
    body = json.loads((tmp_path / "batch" / "requests-00000.jsonl").read_text())["body"]
    assert (sorted(body), body["max_tokens"]) == (["max_tokens", "messages", "model"], 99)
    status, _, err = ruie(
        "extract", "docs.txt", "--out", "other", *UNSENT, "--openai-batch", "gpt-x", "--model-option", "model=y"
    )
    assert (status, "'model' of a request is given" in err, (tmp_path / "other").exists()) == (2, True, False), err


def test_a_folder_without_answers_is_refused_before_anything_is_written(ruie, tmp_path):
    (tmp_path / "docs.txt").write_text("Fly me to Oslo.\n")
    (tmp_path / "answers").mkdir()
    status, _, err = ruie("extract", "docs.txt", "--out", "run", *UNSENT, "-m", "openai-batch:answers")
    assert (status, "answers holds no answers (*.jsonl)" in err, (tmp_path / "run").exists()) == (1, True, False), err


def test_a_corpus_names_the_command_of_its_report(ruie, tmp_path):
    (tmp_path / "docs.txt").write_text("Fly me to Oslo.\n")
    status, _, err = ruie("extract", "docs.txt", "--out", "run", *CORPUS, "--report", "page.html")
    assert status == 2
    assert "call ruie report run/results.jsonl --out page.html afterwards" in " ".join(err.replace("│", " ").split())
    assert ruie("extract", "docs.txt", "--out", "run", *CORPUS)[0] == 0
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
    status, _, err = ruie("extract", "docs.txt", "--out", "batch", *UNSENT, "--openai-batch", "gpt-x", *option)
    assert status == 2
    assert f"{option[0]} has no meaning with --openai-batch" in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "batch").exists()


def test_a_long_text_is_cut_and_its_spans_have_offsets_of_the_whole(ruie, tmp_path):
    text = "It rained. " * 200 + "Fly me to Oslo."
    status, out, err = ruie("extract", text, *CORPUS, "--json", "--chunk-tokens", "100")
    assert status == 0, err
    row = json.loads(out)
    assert len(row["chunks"]) > 4
    assert all(text[one["start"] : one["end"]] == one["text"] for one in row["extraction"].get("entities", []))
    report = text.replace("rained. It", "rained.\nIt") + "\n"  # of many lines, as in docs/how-to/corpora.md
    status, out, err = ruie("extract", *CORPUS, "--json", "--chunk-tokens", "100", stdin=report)
    assert (status, json.loads(out)["extraction"]["text"], len(json.loads(out)["chunks"]) > 4) == (0, report[:-1], True)
    (tmp_path / "long.txt").write_text(text)
    status, _, err = ruie("extract", "--file", "long.txt", "--out", "found.jsonl", *CORPUS, "--chunk-tokens", "100")
    assert status == 0, err
    assert json.loads((tmp_path / "found.jsonl").read_text())["extraction"]["text"] == text
    (tmp_path / "other.txt").write_text(f"Lima is far. {text}")
    for name in ("other.txt", "long.txt"):  # results of other texts stay in the file
        status, _, err = ruie("extract", "--file", name, "--out", "found.jsonl", *CORPUS, "--chunk-tokens", "100")
        assert status == 0, err
    texts = [json.loads(line)["extraction"]["text"] for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert texts == [f"Lima is far. {text}", text]
    status, _, err = ruie("extract", "--file", "long.txt", "--out", "found.jsonl", *CORPUS, "-k", "1")
    assert (status, "made with another model or other settings" in err) == (1, True)
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 2
    (tmp_path / "short.txt").write_text("Fly me to Oslo.")
    assert ruie("extract", "--file", "short.txt", "--out", "found.jsonl", *CORPUS)[0] == 0
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 3
    assert ruie("extract", "--file", "long.txt", "--out", "found.jsonl", *CORPUS, "--chunk-tokens", "0")[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    (whole,) = [row for row in rows if row["extraction"]["text"] == text]
    assert "chunks" not in whole  # asked as a whole, not taken from the chunks of the run before
    assert len(rows) == 3


def test_results_inside_their_corpus_are_refused(ruie, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("Oslo.")
    status, _, err = ruie("extract", "docs", "--out", "docs/run", *CORPUS)
    assert status == 2
    assert "is inside docs" in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "docs" / "run").exists()
