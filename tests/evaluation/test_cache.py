import gc
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from ruie_components import Query, RuieError
from ruie_components.chat import ChatModel, Constraint, Response, TokenProbability
from ruie_components.evaluation import AnswerCache, CachedChatModel
from ruie_components.evaluation.cache import request_key
from ruie_components.prompts import build_prompt

from ..chat_models import CompleteOnly


@dataclass
class Counting(CompleteOnly):
    """A chat model that counts its requests."""

    name: str = "counting"
    settings: dict = field(default_factory=dict)
    constraints: frozenset = frozenset({"json_schema"})
    requests: int = 0

    def complete(self, prompt, *, constraint=None):
        self.requests += 1
        return Response(f"answer {self.requests}", 3, 2, True, (TokenProbability("a", -0.5),))


def prompt(text: str = "Ada slept."):
    return build_prompt(Query(task="NER", text=text, labels=["person"]))


@pytest.fixture
def cache(tmp_path):
    with closing(AnswerCache(tmp_path / "answers.sqlite")) as opened:
        yield opened


def open_connections() -> set[int]:
    """The ids of all connections to SQLite that are open."""

    def is_open(connection: sqlite3.Connection) -> bool:
        try:
            return connection.total_changes >= 0
        except sqlite3.ProgrammingError:
            return False

    # not isinstance: it looks at __class__, which warns in some objects of other packages
    connections = [each for each in gc.get_objects() if issubclass(type(each), sqlite3.Connection)]
    return {id(each) for each in connections if is_open(each)}


def test_a_second_look_costs_nothing_and_is_equal(tmp_path):
    model, path = Counting(), tmp_path / "new" / "answers.sqlite"
    with closing(AnswerCache(path)) as cache:
        first = CachedChatModel(model, cache).complete(prompt())
    with closing(AnswerCache(path)) as cache:
        again = CachedChatModel(model, cache)
        assert again.complete(prompt()) == first
        assert list(again.stream(prompt())) == [first]
    assert model.requests == 1
    assert isinstance(again, ChatModel)


async def test_async_requests_share_the_cache(cache):
    model = Counting()
    cached = CachedChatModel(model, cache)
    first = await cached.acomplete(prompt())
    assert [piece async for piece in cached.astream(prompt())] == [first]
    assert model.requests == 1


def test_a_cached_answer_has_the_seconds_of_its_request(cache):
    class Slow(Counting):
        def complete(self, prompt, *, constraint=None):
            time.sleep(0.05)
            return super().complete(prompt)

    asked = CachedChatModel(Slow(), cache)
    first, again = asked.complete(prompt()).seconds, asked.complete(prompt()).seconds
    assert first == again
    assert first >= 0.05


def test_an_answer_without_seconds_is_read(cache):
    cache.put("key", "model", Response("old"))
    cache._connection.execute("UPDATE answers SET response = json_remove(response, '$.seconds')")
    assert cache.get("key") == Response("old")


def test_everything_that_decides_an_answer_is_in_the_key():
    keys = {
        request_key(Counting(), prompt()),
        request_key(Counting(name="other"), prompt()),
        request_key(Counting(settings={"temperature": 1}), prompt()),
        request_key(Counting(), prompt("Bob slept.")),
        request_key(Counting(), prompt(), Constraint(json_schema={"type": "object"})),
        request_key(Counting(), prompt(), Constraint(grammar="root ::= 'a'")),
    }
    assert len(keys) == 6
    assert request_key(Counting(), prompt()) == request_key(Counting(), prompt())


def test_threads_share_a_cache(cache):
    cached = CachedChatModel(Counting(), cache)
    threads = [
        threading.Thread(target=lambda i=i: [cached.complete(prompt(f"text {i} {j}")) for j in range(20)])
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) == 160


def test_a_failed_request_is_not_kept(cache):
    class Failing(Counting):
        def complete(self, prompt, *, constraint=None):
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        CachedChatModel(Failing(), cache).complete(prompt())
    assert len(cache) == 0


def test_a_file_of_something_else_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("This is no database, and has been here for longer. " * 50)
    before = open_connections()
    foreign = sqlite3.connect(tmp_path / "quiz.sqlite")
    foreign.execute("CREATE TABLE answers (question TEXT, answer TEXT)")
    foreign.close()
    for path in (tmp_path / "notes.txt", tmp_path, tmp_path / "quiz.sqlite"):
        with pytest.raises(RuieError, match=r"can't be used as a cache of answers.*give another file") as caught:
            AnswerCache(path)
        assert caught.tb is not None  # it keeps what the call left behind
        assert open_connections() <= before


def test_a_full_disk_loses_no_answer(tmp_path):
    model = Counting(name="x" * 100_000)  # kept beside each answer
    with closing(AnswerCache(tmp_path / "answers.sqlite")) as cache:
        cache._connection.execute("PRAGMA max_page_count = 3")
        cached = CachedChatModel(model, cache)
        with pytest.warns(UserWarning, match=r"can't be kept in .*answers\.sqlite \(database or disk is full\)"):
            assert cached.complete(prompt()).text == "answer 1"
        assert len(cache) == 0
        cache._connection.execute("PRAGMA max_page_count = 1000")
        assert cached.complete(prompt()).text == cached.complete(prompt()).text == "answer 2"
