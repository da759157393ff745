"""`ruie report`: results that `ruie extract` wrote, as a page."""

import json

import pytest

from ruie_components import DemonstrationStore
from ruie_components.selection import DEFAULT_K


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
    assert (
        page.count("<article ")
        == page.count(f"{DEFAULT_K} demonstrations, best first")
        == page.count("The prompt<")
        == 12
    )
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
    assert (status, "The page has no prompt for 1 of 1 result:" in err) == (0, True), err


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
