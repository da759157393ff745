"""Damaged files of every format: no crash, a problem with its file, and only valid examples.

``RUIE_FUZZ=20000 pytest tests/formats/test_fuzz.py`` tries more; the default keeps the suite fast.
``tests/stress/fuzz.py`` damages real files for as long as one likes.
"""

import os
import runpy
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ruie_components import Example, RowError
from ruie_components.formats import Import, export, formats
from ruie_components.formats.texts import read_texts

FUZZER = Path(__file__).parents[1] / "stress" / "fuzz.py"
TEXT = "Ada Lee met Bob in Zürich 😀."
ENTITIES = [
    {"text": "Ada Lee", "type": "person", "start": 0, "end": 7},
    {"text": "Zürich", "type": "city", "start": 19, "end": 25},
]
SIDES = {"head": {"text": "Ada Lee", "start": 0, "end": 7}, "tail": {"text": "Bob", "start": 12, "end": 15}}
EXAMPLES = [
    Example(id="a", task="NER", text=TEXT, labels=["city", "person"], entities=ENTITIES),
    Example(id="a", task="RE", text=TEXT, labels=["met"], relations=[{"type": "met", **SIDES}]),
    Example(id="b", task="NER", text="Nothing.", labels=["city", "person"]),
]
NAMES = {
    "jsonl": "a.jsonl", "ie-instructions": "a.json", "conll": "a.conll", "label-studio": "a.json", "doccano": "a.jsonl",
    "prodigy": "a.jsonl", "langextract": "a.jsonl", "huggingface": "a.jsonl", "docbin": "a.spacy", "brat": "folder",
    "gliner": "a.json",
}  # fmt: skip
FUZZ = settings(
    max_examples=int(os.environ.get("RUIE_FUZZ", "20")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
PIECES = [
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\n\n", b"\t", b"{", b"[" * 3000, b"]", b'"', b"-1", b"1e999",
    b"99999999999999999999", b"null", b"NaN", b'"\\ud800"', b"T1", b"E1:E1", b"\xf0\x9f\x98\x80", b";", b"O", b"I-",
    b"true",
]  # fmt: skip
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(PIECES)), min_size=1, max_size=4)


def damaged(content: bytes, edits) -> bytes:
    for where, length, piece in edits:
        at = int(where * len(content))
        content = content[:at] + piece + content[at + length :]
    return content


@pytest.mark.parametrize("name", NAMES)
@FUZZ
@given(edits=EDITS)
def test_a_damaged_file_never_crashes_the_reader(tmp_path_factory, name, edits):
    if name == "docbin":
        pytest.importorskip("spacy")
    folder = tmp_path_factory.mktemp("fuzz")
    path = folder / NAMES[name]
    export(path, EXAMPLES, name)
    target = path / "a.ann" if name == "brat" else path
    target.write_bytes(damaged(target.read_bytes(), edits))
    files = Import([path], format=name)
    examples = list(files)
    assert len(examples) < 100
    assert all(example.text[span.start : span.end] == span.text for example in examples for span in example.spans)
    assert all(str(folder) in problem for problem in files.report.problems)


@FUZZ
@given(
    content=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)),
    ending=st.sampled_from(["txt", "json", "jsonl", "csv", "conll", "ann"]),
)
def test_any_bytes_are_told_or_refused(tmp_path_factory, content, ending):
    path = Path(tmp_path_factory.mktemp("fuzz"), f"a.{ending}")
    path.write_bytes(content)
    for read in (lambda: list(read_texts(path)), lambda: list(Import([path]))):
        with suppress(RowError):
            read()


def test_every_format_is_fuzzed():
    assert set(NAMES) == set(formats())


def test_the_fuzzer_reads_damaged_files(tmp_path):
    run = subprocess.run(
        [sys.executable, str(FUZZER), "--seconds", "1", "conll", "texts"], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr
    rows = [line.split() for line in run.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == ["conll", "texts"]
    assert all(int(row[1].replace(",", "")) > 0 for row in rows)


def test_the_fuzzer_keeps_the_file_of_a_reader_that_crashes(tmp_path, monkeypatch):
    fuzzer = runpy.run_path(str(FUZZER))
    undamaged, seen = fuzzer["Import"], []

    def crashing(paths, **options):
        seen.extend(paths)
        return undamaged(paths, **options) if "own" in str(paths[0]) else 1 / 0

    monkeypatch.setitem(fuzzer["check"].__globals__, "Import", crashing)
    monkeypatch.setitem(fuzzer["check"].__globals__, "RAW", tmp_path / "absent")
    ended, broken = fuzzer["fuzz"]("jsonl", 0.2, 0, tmp_path)
    assert ended["broken"] == ended.total() == len(broken) > 0
    assert "ZeroDivisionError" in broken[0]
    assert (tmp_path / "jsonl-0" / seen[-1].name).is_file()
