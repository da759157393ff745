"""The command as a user runs it: real store, embedded encoder, offline baseline."""

import json
import subprocess
import sys
from io import BytesIO, StringIO, TextIOWrapper

import pytest
from rich.console import Console

from ruie_components import DemonstrationStore, Extraction
from ruie_components.cli import show
from ruie_components.extraction import ExtractionResult, Usage
from ruie_components.selection import DEFAULT_K
from ruie_components.starter import starter_examples
from ruie_components.store.tuned import TunedSettings


def test_demo_shows_all_four_tasks_and_writes_the_report(ruie, tmp_path):
    status, out, _ = ruie("demo", "--model", "baseline")
    assert status == 0
    for name in ("Named entity recognition", "Relation extraction", "Event detection", "Event argument extraction"):
        assert name in out
    assert "Model: baseline, as given." in out
    assert "airline: Aurora Air 0-10" in out
    assert "tokens" in out
    assert (tmp_path / "report.html").read_text("utf-8").count("<article ") == 4


def test_demo_replaces_only_its_own_report(ruie, tmp_path):
    page = tmp_path / "report.html"
    for content in "mine", "<title>Extractions</title>":
        page.write_text(content, "utf-8")
        status, out, err = ruie("demo", "--model", "baseline")
        assert (status, out) == (1, "")
        assert "report.html exists and is not a report of `ruie demo`: give another --report" in err
        assert page.read_text("utf-8") == content
    page.unlink()
    for k in "0", "1":
        assert ruie("demo", "--model", "baseline", "-k", k)[0] == 0
    assert "1 demonstration, best first" in page.read_text("utf-8")


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
    assert len(row["demonstrations"]) == DEFAULT_K


def test_one_thing_is_told_in_the_singular(ruie, pool, tmp_path):
    lines = pool.read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "one.jsonl").write_text(lines[0], "utf-8")
    assert "Read 1 example, 1 new." in ruie("index", "one.jsonl", "--store", "s")[1]
    _, _, err = ruie("prompt", "Fly me to Oslo.", "-s", "s", "-k", "1", "--max-tokens", "140")
    assert ", 1 demonstration dropped to fit the budget" in err
    shown = ("--file", "one.jsonl", "-s", "s", "-m", "baseline", "--out", "found.jsonl")
    assert ruie("extract", *shown)[0] == 0
    assert "holds 1 result made with another model or other settings" in ruie("extract", *shown, "-k", "2")[2]
    _, out, _ = ruie("report", "found.jsonl", "--gold", "one.jsonl")
    assert " on 1 result with gold annotations" in out
    (tmp_path / "one.jsonl").write_text(f"{lines[0]}{{}}\n" + "{}\n" * 20, "utf-8")
    assert "... and 1 more problem\n" in ruie("import", "one.jsonl", "--to", "rows.jsonl")[2]


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
    assert (status, "1 result in [red]o.jsonl" in err) == (0, True), err
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


def test_a_long_path_stays_on_one_line(ruie, pool, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    long = tmp_path / ("long-" * 20)
    for arguments in (["index", pool, "-s", long], ["demo", "--model", "baseline", "--report", long / "page.html"]):
        _, out, _ = ruie(*arguments)
        assert str(long) in out
    _, _, err = ruie("extract", "Oslo.", "-s", long, "--out", long / "found.jsonl")
    assert str(long) in err


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
        (["prompt", "x" * 9000, "-t", "NER", "--max-tokens", "300"], 1, "split it"),
        (["prompt", "x", "-t", "NER", "--max-tokens", "100"], 1, "or ask for fewer labels"),
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
from ruie_components.selection import DEFAULT_K
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
