"""Documents of any length: where they are cut, and that what chunks give is merged without loss."""

import asyncio
import re
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruie_components import ChatModelError, DemonstrationStore, Example, PromptTooLongError, Query, answers
from ruie_components.chat import as_chat_model
from ruie_components.extraction import Chunk, Chunking, DocumentResult, ExtractionResult, Extractor, Usage, documents
from ruie_components.prompts import estimate_tokens, render_query
from ruie_components.types import Extraction

from ..pool import ROLES, found

pytestmark = pytest.mark.usefixtures("no_waiting")

PEOPLE = ("Ada", "Bob", "Cy", "Дан", "伊娃")


def shown(messages) -> str:
    """The text of the prompt's last block."""
    return re.search(r'^Input: "(.*)"\nOutput:$', messages[-1][1], re.MULTILINE)[1]


def find_people(messages) -> str:
    """Answers with every mention of every person, as often as it occurs."""
    text = shown(messages)
    return "; ".join(f"person: {name}" for name in PEOPLE for _ in range(text.count(name))) or "None"


def names(text: str) -> Query:
    return Query(task="NER", text=text, labels=["person"])


def merged(text: str, chunking: Chunking) -> DocumentResult:
    """A document read without a store: what the extractor does, and no more."""
    plan = documents.plan(names(text), chunking)
    results = [
        ExtractionResult(answers.parse(find_people([("human", render_query(query))]), query), None, Usage())
        for query in plan.queries
    ]
    return documents.merge(plan, results)


words = st.one_of(
    st.sampled_from([*PEOPLE, "slept", "в", "她", "的", "กา", "👩‍🚀", "e\u0301", "\u0928\u093f", "Dr."]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6),
)
texts = st.lists(st.tuples(words, st.sampled_from([" ", ". ", "。", "\n\n", "", "! "])), max_size=20).map(
    lambda pairs: "".join(word + end for word, end in pairs)
)
chunkings = st.builds(
    Chunking, max_tokens=st.integers(1, 30), context_sentences=st.integers(0, 3), passes=st.integers(1, 3)
)


@given(texts, chunkings)
@settings(max_examples=50, deadline=None)
def test_chunks_of_a_pass_follow_each_other_without_gaps_and_keep_to_the_budget(text, chunking):
    for read in range(chunking.passes):
        chunks = documents.cut(text, chunking, read=read)
        assert "".join(text[chunk.start : chunk.end] for chunk in chunks) == text
        assert all(one.end == other.start for one, other in pairwise(chunks))
        for chunk in chunks:
            assert 0 <= chunk.context_start <= chunk.start < chunk.end <= len(text)
            size = estimate_tokens(text[chunk.context_start : chunk.end])
            assert size <= chunking.max_tokens or chunk.end - chunk.start == 1


@given(texts.filter(str.strip), chunkings)
@settings(max_examples=25, deadline=None)
def test_spans_have_document_offsets_and_none_is_there_twice(text, chunking):
    result = merged(text, chunking)
    entities = result.extraction.entities
    assert all(text[entity.start : entity.end] == entity.text for entity in entities)
    assert len({(entity.type, entity.start, entity.end) for entity in entities}) == len(entities)


@given(st.lists(st.sampled_from(["Ada met Bob. ", "Cy slept. ", "Nobody came, it rained. "]), min_size=1, max_size=30))
@settings(max_examples=10, deadline=None)
def test_chunks_find_what_one_prompt_finds(sentences):
    text = "".join(sentences)
    whole = sorted(entity.offsets for entity in merged(text, Chunking()).extraction.entities)
    for context, passes in ((0, 1), (2, 1), (2, 3)):
        chunking = Chunking(max_tokens=20, context_sentences=context, passes=passes)
        assert sorted(each.offsets for each in merged(text, chunking).extraction.entities) == whole


@pytest.mark.parametrize(("words", "tokens"), [(4, 64), (90, 100), (2000, 512)])
def test_a_chunk_is_about_as_long_as_the_pools_examples(encoder, words, tokens):
    """With demonstrations of single sentences a language model finds little in a text of many."""
    pool = [
        Example(task="NER", text=f"Ada slept {number} " + "and ran " * (words // 2), labels=["person"])
        for number in range(30)
    ]
    document = names("Ada met Bob in the old harbour. " * 300)
    with DemonstrationStore.create(pool, encoder=encoder) as store:
        chunks = Extractor(store, find_people, k=0).plan(document).chunks
        assert len(Extractor(store, find_people, k=0).plan(document, Chunking(10_000)).chunks) == 1
    sizes = [estimate_tokens(document.text[chunk.context_start : chunk.end]) for chunk in chunks]
    assert tokens * 0.75 <= max(sizes) <= tokens


def test_one_long_example_in_ten_does_not_make_chunks_longer(encoder):
    texts = [f"Ada slept {number} " + "and ran " * 50 for number in range(9)] + ["Bob " * 400]
    pool = [Example(task="NER", text=text, labels=["person"]) for text in texts]
    document = names("Ada met Bob in the old harbour. " * 300)
    with DemonstrationStore.create(pool, encoder=encoder) as store:
        assert store.long_text("NER") in texts[:9]
        by_letters = Extractor(store, find_people, k=0, count_tokens=len).plan(document).chunks
    sizes = [chunk.end - chunk.context_start for chunk in by_letters]
    assert 0.8 * 412 <= max(sizes) <= 412  # a text has 411 or 412 letters


def test_without_examples_a_chunk_has_512_tokens(encoder):
    document = names("Ada met Bob in the old harbour. " * 300)
    with DemonstrationStore.create([], encoder=encoder) as store:
        chunks = Extractor(store, find_people, k=0).plan(document).chunks
    assert chunks == tuple(documents.cut(document.text, Chunking(512)))
    example = Example(task="NER", text="Ada slept.", labels=["person"])
    with DemonstrationStore.create([example], encoder=encoder) as store:
        store.delete([example.content_id])
        assert Extractor(store, find_people, k=0).plan(document).chunks == chunks


def test_a_short_text_is_asked_as_it_is(store):
    seen = []

    def model(messages):
        seen.append(messages)
        return find_people(messages)

    extractor = Extractor(store, model, k=2)
    query = Query(task="NER", text="Ada met Bob.", labels=["person"], id="a", metadata={"page": 3})
    result, alone = extractor.extract_document(query), extractor.extract(query)
    assert seen[0] == seen[1]
    assert (result.extraction, result.prompt, result.id, result.metadata) == (
        alone.extraction,
        alone.prompt,
        "a",
        {"page": 3},
    )
    assert "chunks" not in result.to_row()
    with pytest.raises(ValueError, match="text is empty"):
        extractor.extract_document({"text": " ", "task": "NER"})
    with pytest.raises(ValueError, match="max_tokens must be a whole number >= 1, got 0"):
        Chunking(max_tokens=0)


def test_a_mention_that_the_model_names_once_is_found_in_the_chunk_too_not_only_in_its_context(store):
    text = "It rained a lot again. Ada was. And then Ada left the house again."
    once = Extractor(store, lambda messages: "person: Ada", k=0)
    result = once.extract_document(names(text), Chunking(max_tokens=14, context_sentences=1))
    assert [part.chunk for part in result.chunks] == [Chunk(0, 32, 0), Chunk(32, 66, 23)]
    assert [entity.start for entity in result.extraction.entities] == [23, 41]


def test_relations_are_found_across_the_border_of_a_chunk_and_its_context_and_not_twice(store):
    text = "Ada is here. She works for Acme. Bob is there. He works for Oslo Ltd."

    def model(messages):
        said = shown(messages)
        pairs = [("Ada", "Acme"), ("Bob", "Oslo Ltd")]
        return "; ".join(f"works for: {head}, {tail}" for head, tail in pairs if head in said and tail in said)

    query = Query(task="RE", text=text, labels=["works for"])
    result = Extractor(store, model, k=0).extract_document(query, Chunking(max_tokens=16, context_sentences=1))
    assert len(result.chunks) > 1
    pairs = [(one.head.text, one.tail.text, one.head.start) for one in result.extraction.relations]
    assert pairs == [("Ada", "Acme", 0), ("Bob", "Oslo Ltd", text.index("Bob"))]


def test_events_keep_their_one_trigger_and_get_the_arguments_of_all_chunks_that_show_it(store):
    text = "It rained. " * 20 + "Ada sold it. The place was Rome. " + "It rained. " * 20
    start = text.index("sold")
    query = Query(task="EAE", text=text, labels=ROLES, event={"type": "sale", "trigger": "sold", "start": start})
    asked = []

    def model(messages):
        asked.append(shown(messages))
        return "; ".join(
            f"{role}: {span}" for role, span in (("seller", "Ada"), ("place", "Rome")) if span in asked[-1]
        )

    result = Extractor(store, model, k=0).extract_document(query, Chunking(max_tokens=30, context_sentences=1))
    assert all("sold" in said for said in asked)
    (event,) = result.extraction.events
    assert (event.trigger.text, event.trigger.start) == ("sold", start)
    assert next((one.role, text[one.start : one.end]) for one in event.arguments) == ("seller", "Ada")


def test_triggers_of_a_document(store):
    text = "He sold it. " * 12
    query = Query(task="ED", text=text, labels=["sale"])

    def model(messages):
        return "; ".join(["sale: sold"] * shown(messages).count("sold"))

    result = Extractor(store, model, k=0).extract_document(query, Chunking(max_tokens=18))
    starts = [event.trigger.start for event in result.extraction.events]
    assert starts == [hit.start() for hit in re.finditer("sold", text)]


class Unreliable:
    """Fails on prompts whose text has a word, a number of times."""

    def __init__(self, word: str, times: int):
        self.word, self.times = word, times

    def __call__(self, messages):
        if self.word in shown(messages) and self.times:
            self.times -= 1
            raise RuntimeError("no answer today")
        return find_people(messages)


TEXT = "Ada slept here once. Bob woke up there twice. Cy was away for long. " * 3
SMALL = Chunking(max_tokens=8, context_sentences=0)


def test_a_chunk_that_fails_is_asked_again_then_reported_and_the_others_are_kept(store):
    whole = Extractor(store, find_people, k=1).extract_document(names(TEXT), SMALL)
    again = Extractor(store, Unreliable("Bob", 1), k=1).extract_document(names(TEXT), SMALL)
    assert again.extraction.entities == whole.extraction.entities
    assert again.error is None
    lost = Extractor(store, Unreliable("Bob", 1000), k=1).extract_document(names(TEXT), SMALL)
    assert "of" in lost.error
    assert re.match(r"3 of 9 chunks failed; the first, characters 21 to 46: RuntimeError: no answer today", lost.error)
    assert {entity.text for entity in lost.extraction.entities} == {"Ada", "Cy"}
    errors = [row for row in lost.to_row()["chunks"] if "error" in row]
    assert next((row["start"], row["end"]) for row in errors) == (21, 46)
    assert Extraction.model_validate(lost.to_row()["extraction"]) == lost.extraction


def test_what_a_failed_chunk_missed_is_kept_where_the_next_chunk_saw_it_in_its_context(store):
    text = "It was raining all day. Ada slept. And then Bob and the others went home."
    chunking = Chunking(max_tokens=16, context_sentences=1)
    extractor = Extractor(store, find_people, k=0)
    plan = documents.plan(names(text), chunking)
    assert [(chunk.start, chunk.context_start) for chunk in plan.chunks] == [(0, 0), (35, 24)]
    results = extractor.extract_many(plan.queries)
    assert [each.text for each in documents.merge(plan, results).extraction.entities] == ["Ada", "Bob"]
    nothing = Extraction(task="NER", text=plan.queries[0].text, labels=["person"])
    lost = documents.replaced(results, [0], [replace(results[0], extraction=nothing, error="lost")])
    assert [each.text for each in documents.merge(plan, lost).extraction.entities] == ["Ada", "Bob"]
    missed = documents.replaced(results, [0], [replace(results[0], extraction=nothing)])
    assert [each.text for each in documents.merge(plan, missed).extraction.entities] == ["Bob"]


def test_a_model_that_is_not_there_is_an_error_at_once(store):
    def gone(messages):
        raise ConnectionError("refused")

    with pytest.raises(ChatModelError, match="refused"):
        Extractor(store, gone, retries=0).extract_document(names(TEXT), SMALL)


def test_a_budget_of_the_prompt_makes_smaller_chunks(store):
    extractor = Extractor(store, find_people, max_tokens=400)
    result = extractor.extract_document(names(TEXT * 20))
    assert len(result.chunks) > 1
    assert all(part.result.prompt.tokens <= 400 for part in result.chunks)
    assert len(found(result.extraction)) == 9 * 20
    with pytest.raises(PromptTooLongError):
        Extractor(store, find_people, max_tokens=10).extract_document(names(TEXT))


def test_finished_chunks_are_taken_from_a_file_and_asyncio_gives_the_same(store, tmp_path):
    asked = []

    def model(messages):
        asked.append(shown(messages))
        return find_people(messages)

    extractor = Extractor(store, as_chat_model(model), k=1)
    first = extractor.extract_document(names(TEXT), SMALL, resume=tmp_path / "chunks.jsonl")
    count = len(asked)
    assert extractor.extract_document(names(TEXT), SMALL, resume=tmp_path / "chunks.jsonl") == first
    assert len(asked) == count
    other = asyncio.run(extractor.aextract_document(names(TEXT), SMALL))
    assert other.extraction == first.extraction


def test_usage_is_the_sum_over_the_chunks(store):
    def model(messages):
        return SimpleNamespace(text="None", usage_metadata={"input_tokens": 1000, "output_tokens": 2})

    result = Extractor(store, model, k=1).extract_document(names(TEXT), SMALL)
    assert (result.usage.input_tokens, result.usage.output_tokens) == (9000, 18)
    assert result.usage.demonstrations == 9
