"""benchmarks/length.py: joined sentences, whole and in chunks."""

import importlib.util
import sys
from pathlib import Path

import pytest

from ruie_components import Example
from ruie_components.chat import CopyBaseline
from ruie_components.evaluation import EvaluationSet
from ruie_components.scoring import Counts, score
from ruie_components.starter import starter_examples
from ruie_components.types import Extraction

FIELDS = ("entities", "relations", "events")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def length():
    spec = importlib.util.spec_from_file_location("benchmark_length", BENCHMARKS / "length.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(BENCHMARKS))  # for what the benchmarks share
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))
        del sys.modules[spec.name], sys.modules["common"]


def spans(example: Example) -> list[tuple[str, list[str]]]:
    return sorted((label, [span.text for span in found]) for label, found in example.annotations)


@pytest.mark.parametrize("task", ["NER", "RE", "ED"])
def test_joined_documents_have_the_annotations_of_their_sentences(length, task):
    rows = list(starter_examples(task))[:7]
    documents = list(length.joined(rows, 3))
    assert len(documents) == 2  # the remainder is left out
    for i, document in enumerate(documents):
        parts = rows[3 * i : 3 * i + 3]
        assert document.text == " ".join(part.text for part in parts)
        assert spans(document) == sorted(each for part in parts for each in spans(part))
        assert all(document.text[s.start : s.end] == s.text for _, found in document.annotations for s in found)
        assert list(document.labels) == list(dict.fromkeys(label for part in parts for label in part.labels))
    assert [document.text for document in length.joined(rows, 1)] == [row.text for row in rows]


@pytest.mark.parametrize("task", ["NER", "RE", "ED"])
def test_the_counts_of_sentences_add_up_to_those_of_their_document(length, task):
    rows = [example for example in starter_examples(task) if example.annotations][:4]
    (document,) = length.joined(rows, 4)
    predicted = Extraction(**document.model_dump(include={"task", "text", "labels", "entities", "relations", "events"}))
    for kept in (predicted, predicted.model_copy(update={name: getattr(predicted, name)[1:] for name in FIELDS})):
        counts = [length.sentence_counts(row, offset, kept) for offset, row in length.placed(rows)]
        whole = score([document], [kept], "span")
        assert sum((Counts(each.tp, each.fn, each.fp) for each in counts), Counts()) == Counts(
            whole.tp, whole.fn, whole.fp
        )
    assert whole.fn == 1


def test_a_relation_across_sentences_counts_where_its_head_is(length):
    rows = [Example(task="RE", text=text, labels=["knows"]) for text in ("Ada slept.", "Bob ran.")]
    head, tail = {"text": "Bob", "start": 11, "end": 14}, {"text": "Ada", "start": 0, "end": 3}
    relation = {"type": "knows", "head": head, "tail": tail}
    found = Extraction(task="RE", text="Ada slept. Bob ran.", labels=["knows"], relations=[relation])
    counts = [length.sentence_counts(row, offset, found) for offset, row in length.placed(rows)]
    assert [each.fp for each in counts] == [0, 1]


def test_every_length_is_extracted_whole_and_in_chunks(length, tmp_path):
    rows = [example for example in starter_examples("NER") if example.annotations]
    inputs = tuple(rows[::8][:8])
    data = EvaluationSet("NER/starter", tuple(row for row in rows if row not in inputs), inputs)
    figures = list(length.measure(data, CopyBaseline(), (1, 4, 8), (24,), k=4))
    assert [(one.sentences, one.chunk_tokens, one.documents) for one in figures] == [
        (1, None, 8), (1, 24, 8), (4, None, 2), (4, 24, 2), (8, None, 1), (8, 24, 1),
    ]  # fmt: skip
    whole, chunks = ([one for one in figures if one.chunk_tokens == size] for size in (None, 24))
    assert [one.requests for one in whole] == [8, 2, 1]
    assert all(one.requests >= 4 for one in chunks)
    assert all(0 < one.recall <= 1 and 0 < one.precision <= 1 and not one.failed for one in figures)
    assert all(one.input_tokens > 0 for one in figures)
    assert all(0 <= one.low <= one.f1 <= one.high <= 1 for one in figures)
    text = length.table(figures)
    assert len(text.splitlines()) == 2 + len(figures)
    assert "| 4 | 2 | chunks of 24 |" in text
    pytest.importorskip("matplotlib")
    length.plot(figures, tmp_path / "length.png")
    assert (tmp_path / "length.png").stat().st_size > 1000
