"""Streams of a real endpoint: what is left of one that a caller ends early, and the tokens that it counts."""

import asyncio
import gc
import threading
from contextlib import aclosing, nullcontext, suppress

import pytest

from ruie_components import Extractor
from ruie_components.chat import load_chat_model
from ruie_components.chat.cut_prompts import PromptCutWarning
from ruie_components.langchain import create_extraction_chain

from .streaming_server import StreamingServer

pytest.importorskip("langchain_openai")

TEXT = "In Oslo Ada slept."
PATIENCE = 5  # seconds for the server to notice, which it does when it writes


@pytest.fixture
def server():
    with StreamingServer(["person: Ada; ", "place: Oslo; "]) as server:
        yield server


@pytest.fixture(params=["extractor", "chain"])
def begin(request, server, store):
    """Begins a stream."""
    model = load_chat_model("openai:slow", base_url=server.url)
    if request.param == "extractor":
        return lambda: Extractor(store, model, task="NER").astream(TEXT)
    return lambda: create_extraction_chain(model, store, task="NER").astream(TEXT)


@pytest.mark.parametrize(("read", "is_cut"), [(64, True), (2000, False)])
async def test_a_prompt_that_an_endpoint_cut_is_a_warning(store, read, is_cut):
    with StreamingServer(["person: Ada; ", "place: Oslo"], pause=0.001, read=read) as server:
        extractor = Extractor(store, load_chat_model("openai:slow", base_url=server.url), task="NER")
        for way in ("stream", "astream"):
            with pytest.warns(PromptCutWarning, match="read 64 tokens") if is_cut else nullcontext():
                if way == "stream":
                    last = list(extractor.stream(TEXT))[-1]
                else:
                    last = [result async for result in extractor.astream(TEXT)][-1]
            assert last.usage.input_tokens == read
            assert [entity.text for entity in last.extraction.entities] == ["Ada", "Oslo"]


def own_threads():
    """The threads that do not belong to the event loop or the server."""
    ours = ("asyncio_", "Thread-")  # of asyncio.to_thread; of http.server
    return {thread for thread in threading.enumerate() if not thread.name.startswith(ours)}


async def test_a_closed_stream_has_closed_the_models(begin, server):
    threads, tasks = own_threads(), asyncio.all_tasks()
    async with aclosing(begin()) as results:
        first = await anext(results)
    assert first.extraction.entities[0].text == "Ada"
    assert asyncio.all_tasks() == tasks
    assert server.hung_up.wait(PATIENCE)  # it blocks the event loop: nothing but aclose can have closed it
    assert own_threads() == threads


async def test_closing_twice_or_before_the_first_result_is_no_error(begin, server):
    results = begin()
    await results.aclose()
    await results.aclose()
    assert [result async for result in results] == []
    assert server.requests == []


def test_a_loop_that_breaks_off_leaves_nothing(begin, server, caplog):
    async def breaks_off():
        async for _ in begin():
            break

    async def breaks_off_and_goes_on():
        tasks = asyncio.all_tasks()
        await breaks_off()
        while asyncio.all_tasks() != tasks or not server.hung_up.is_set():
            await asyncio.sleep(0.01)

    async def is_cancelled():
        begun = asyncio.Event()

        async def consume():
            async for _ in begin():
                begun.set()

        task = asyncio.ensure_future(consume())
        await begun.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    threads = own_threads()
    for ends_early in (breaks_off, breaks_off_and_goes_on, is_cancelled):
        server.hung_up.clear()
        asyncio.run(asyncio.wait_for(ends_early(), PATIENCE), debug=True)
        assert server.hung_up.wait(PATIENCE)
    gc.collect()  # warnings of generators and connections that were left open are errors here
    assert own_threads() == threads
    assert [record for record in caplog.records if "took" not in record.message] == []
