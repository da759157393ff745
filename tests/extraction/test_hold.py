"""Answers held to the schema and the text, by a real model."""

import pytest

from ruie_components import DemonstrationStore, Example, Extractor, Query
from ruie_components.chat import load_chat_model
from ruie_components.prompts import Order
from ruie_components.types import Rejection

TEXT = "Eve Ng met Dan in Rome."
QUERIES = {
    "NER": Query(task="NER", text=TEXT, labels=["zebra", "quark"]),
    "RE": Query(task="RE", text=TEXT, labels=["zebra", "quark"]),
    "ED": Query(task="ED", text=TEXT, labels=["zebra", "quark"]),
    "EAE": Query(task="EAE", text=TEXT, labels=["zebra", "quark"], event={"type": "meet", "trigger": "met"}),
}


@pytest.fixture(scope="module")
def store(encoder):
    ada = {"text": "Ada", "type": "zebra", "start": 0, "end": 3}
    example = Example(task="NER", text="Ada slept.", labels=["zebra"], entities=[ada])
    with DemonstrationStore.create([example], encoder=encoder, pool="hold", progress=False) as opened:
        yield opened


@pytest.mark.filterwarnings("ignore::ruie_components.extraction.AnswerTruncatedWarning")
@pytest.mark.parametrize("answer_format", ["linear", "json"])
@pytest.mark.parametrize("task", QUERIES)
def test_what_is_held_stands_in_the_schema_and_the_text(small_llm, store, task, answer_format):
    extractor = Extractor(store, small_llm, k=0, hold="spans", answer_format=answer_format)
    result = extractor.answer(extractor.write(QUERIES[task], []))
    extraction, is_json = result.extraction, answer_format == "json"
    assert extraction.answer.lstrip().startswith(("{",) if is_json else ("zebra: ", "quark: ", "None"))
    assert all(span.grounding == "exact" for span in extraction.spans)
    if not result.usage.truncated:
        assert not extraction.rejected
    assert Rejection.UNKNOWN_LABEL not in {one.reason for one in extraction.rejected}


@pytest.mark.filterwarnings("ignore::ruie_components.extraction.AnswerTruncatedWarning")
def test_labels_are_held_and_spans_are_free(small_llm, store):
    extractor = Extractor(store, small_llm, k=0, hold="labels")
    answer = extractor.answer(extractor.write(QUERIES["NER"], [])).extraction.answer.strip()
    assert answer.startswith(("zebra: ", "quark: ", "None"))


def test_a_model_that_takes_no_grammar_is_told(store):
    with pytest.raises(ValueError, match=r"'baseline' takes no grammar.*leave hold out"):
        Extractor(store, "baseline", hold="labels")
    with pytest.raises(ValueError, match="'labels', 'spans' or None"):
        Extractor(store, "baseline", hold="label")


def test_openai_itself_takes_no_grammar(store, monkeypatch):
    pytest.importorskip("langchain_openai")
    model = load_chat_model("openai:gpt-4o", api_key="none")
    with pytest.raises(ValueError, match="takes no grammar"):
        Extractor(store, model, hold="labels")


def test_the_order_is_the_extractor_s(store):
    rows = [
        Example(task="NER", text=text, labels=["a"], entities=[{"type": "a", "text": text[:3], "start": 0, "end": 3}])
        for text in ("Ada slept.", "Bob slept.", "Cid slept.")
    ]
    with DemonstrationStore.create(rows, encoder=store.encoder, pool="order", progress=False) as pool:
        last = Extractor(pool, "baseline", k=3).extract("Dan slept.")
        first = Extractor(pool, "baseline", k=3, order="similar-first").extract("Dan slept.")
    assert first.demonstrations == last.demonstrations
    assert first.prompt.demonstrations == last.prompt.demonstrations[::-1]
    assert first.prompt.order is Order.SIMILAR_FIRST
