import json
import re
from contextlib import closing

import pytest
from typer.testing import CliRunner

from ruie_components import ChatModelError, DemonstrationStore, Example, Extractor, StoreError
from ruie_components.chat import CopyBaseline, Response
from ruie_components.cli.app import app
from ruie_components.errors import PromptTooLongError
from ruie_components.evaluation import AnswerCache
from ruie_components.evaluation.tune import Round, _rounds, _Search, plan_tuning, tune
from ruie_components.prompts import AnswerFormat, Order
from ruie_components.retrieval import DemonstrationRetriever
from ruie_components.selection import DEFAULT_K
from ruie_components.store import TunedSettings

BEST = TunedSettings(method="similarity", k=3, order="similar-first", answer_format="json")


class Picky(CopyBaseline):
    """The baseline, which answers only to JSON."""

    name = "picky"
    calls = 0

    def complete(self, prompt, *, constraint=None):
        type(self).calls += 1
        return super().complete(prompt) if "JSON" in prompt.text else Response("None")


def row(name: str, verb: str, city: str) -> Example:
    text = f"{name} {verb} in {city}."
    spans = [("person", name, 0), ("city", city, text.index(city))]
    entities = [{"type": label, "text": span, "start": at, "end": at + len(span)} for label, span, at in spans]
    return Example(task="NER", text=text, labels=["person", "city"], entities=entities)


ROWS = [
    row(name, verb, city)
    for name in ("Ada", "Bob", "Cyd", "Dan", "Eve")
    for verb in ("slept", "sang", "works", "met Flo")
    for city in ("Rome", "Oslo", "Lima", "Bonn")
]


@pytest.fixture
def store(encoder):
    with DemonstrationStore.create(ROWS, pool="tune", encoder=encoder, progress=False) as opened:
        yield opened


def arguments(**more):
    return {"calls": 70, "methods": ["bm25"], "ks": [4], "orders": [Order.SIMILAR_LAST], **more}


def test_rounds_halve_the_settings_within_the_budget():
    rounds = _rounds(8, 240, 100)
    assert rounds == [Round(8, 10), Round(5, 26), Round(4, 46)]
    assert _rounds(8, 20, 100) is None
    assert _rounds(4, 1000, 30)[-1].inputs == 30


def test_with_few_calls_the_settings_most_like_the_default_are_tried(store):
    plan = plan_tuning(store, CopyBaseline(), calls=300)
    default, *others = plan.settings
    assert default == TunedSettings()
    choices = [set(other) - set(default) for other in others]
    assert 1 < len(others) < plan.possible - 1
    assert [len(each) for each in choices] == sorted(len(each) for each in choices)
    assert {name for each in choices if len(each) == 1 for name, _ in each} == {"method", "k", "order", "answer_format"}
    assert {one.k for one in others} == {4, 8}


def test_a_better_format_is_found_and_tested_on_other_inputs(store, tmp_path):
    Picky.calls = 0
    with closing(AnswerCache(tmp_path / "a.sqlite")) as cache:
        found = tune(store, Picky(), cache=cache, progress=False, **arguments())
        before = Picky.calls
        assert tune(store, Picky(), cache=cache, progress=False, **arguments()) == found
    assert Picky.calls == before  # it resumes from the cache
    assert found.winner.answer_format is AnswerFormat.JSON
    assert found.is_significant
    assert found.difference.value == pytest.approx(found.winner_f1.value - found.default_f1.value)
    assert found.default_f1.value == 0
    assert found.calls <= 70
    assert Picky.calls <= found.calls
    assert store.tuned() is None  # nothing is written unless it is asked for


class ShortContext(CopyBaseline):
    """The baseline, whose context holds two demonstrations."""

    name = "short"

    def complete(self, prompt, *, constraint=None):
        if len(prompt.demonstrations) > 2:
            raise PromptTooLongError("the prompt has more tokens than the context")
        return super().complete(prompt)


def test_settings_that_the_context_does_not_hold_lose_and_end_nothing(store):
    found = tune(store, ShortContext(), progress=False, **arguments(calls=100, ks=[2]))
    assert found.winner.k == 2
    assert found.default_f1.value == 0 < found.winner_f1.value
    assert found.failures >= found.test_inputs


def test_a_model_that_never_answers_is_given_up(store):
    class Gone(CopyBaseline):
        calls = 0

        def complete(self, prompt, *, constraint=None):
            self.calls += 1
            raise ChatModelError("no server")

    gone = Gone()
    with pytest.raises(ChatModelError, match="no server"):
        tune(store, gone, retries=0, progress=False, **arguments())
    assert gone.calls <= 8  # two settings with the four inputs of the first round


@pytest.mark.parametrize("method", ["similarity", "hybrid", "label-vote", "mmr", "label-coverage", "bm25", "random"])
def test_an_adapted_pool_is_tuned_with_an_adapted_encoder(store, method, monkeypatch):
    monkeypatch.setattr(_Search, "_is_adapted", True)
    search = _Search(store, Picky(), None, 70, [method], [4], [Order.SIMILAR_LAST], list(AnswerFormat), 0)
    (name,) = search._plan(TunedSettings(method=method), search.test_inputs).selections
    assert name == {"similarity": "adapted", "bm25": "bm25", "random": "random"}.get(method, f"adapted-{method}")


def test_a_plan_says_what_it_will_cost(store):
    plan = plan_tuning(store, Picky(), **arguments())
    assert 0 < plan.calls <= 70
    assert plan.settings[0] == TunedSettings()
    assert plan.tokens > 50 * plan.calls
    assert plan.possible == 3
    with pytest.raises(ValueError, match=r"10 calls are too few to tune by: .* 40% of the calls"):
        plan_tuning(store, Picky(), **arguments(calls=10))


def test_a_pool_with_few_rows_is_not_tuned_however_many_calls_are_allowed(encoder):
    refused = pytest.raises(ValueError, match=r"has 63 annotated NER rows, and at least 64 are needed")
    with DemonstrationStore.create(ROWS[:63], encoder=encoder, progress=False) as few, refused:
        plan_tuning(few, Picky(), **arguments(calls=1000))


def repeated(rows: list[Example], times: int) -> list[Example]:
    """Rows of the same texts, each several times with another label."""
    return [
        one.model_copy(update={"labels": (*one.labels, f"label {number}")}) for one in rows for number in range(times)
    ]


def test_rows_with_equal_texts_are_all_in_the_pool_or_in_one_slice(encoder):
    with DemonstrationStore.create(repeated(ROWS, 3), encoder=encoder, progress=False) as store:
        search = _Search(store, Picky(), None, 200, ["bm25"], [4], [Order.SIMILAR_LAST], list(AnswerFormat), 0)
    parts = [search.test_inputs, search.search_inputs, search.data.pool]
    assert sum(map(len, parts)) == 3 * len(ROWS)  # none is left out
    assert sum(len({one.text for one in part}) for part in parts) == len(ROWS)
    assert len(search.data.inputs) <= 3 * len(ROWS) / 4


@pytest.mark.parametrize(
    ("texts", "times", "refused"),
    [
        pytest.param(3, 22, "66 annotated NER rows of too few different texts", id="not even one can be held out"),
        pytest.param(22, 3, "too few different texts to tune by: .* 8 inputs, .* got 6", id="too few for the test"),
    ],
)
def test_a_pool_with_few_texts_is_not_tuned_however_many_rows_it_has(encoder, texts, times, refused):
    rows = repeated(ROWS[:texts], times)
    raises = pytest.raises(ValueError, match=refused)
    with DemonstrationStore.create(rows, encoder=encoder, progress=False) as few, raises:
        plan_tuning(few, Picky(), **arguments(calls=1000))


def test_what_was_tuned_is_the_default(store):
    store.set_tuned("NER", BEST)
    assert store.tuned() == store.tuned("NER") == BEST
    retriever = DemonstrationRetriever(store)
    assert (retriever.selector.method, retriever.selector.k) == ("similarity", 3)
    extractor = Extractor(store, "baseline")
    assert (extractor.order, extractor.answer_format) == (Order.SIMILAR_FIRST, AnswerFormat.JSON)
    told = Extractor(store, "baseline", k=2, answer_format="linear")
    assert (told.selector.method, told.selector.k, told.answer_format) == ("similarity", 2, AnswerFormat.LINEAR)
    assert len(told.extract("Ada slept.").demonstrations) == 2
    store.set_tuned("NER", None)
    assert store.tuned() is None
    assert DemonstrationRetriever(store).selector.k == DEFAULT_K


def test_what_can_not_be_read_is_an_error(store):
    collection = store._pool.collections["NER"]
    collection.modify(metadata={**collection.metadata, "ruie_tuned": '{"method": "magic"}'})
    with pytest.raises(StoreError, match=r"tuned settings of NER.*method"):
        store.tuned("NER")


def test_the_command_keeps_a_winner_only_when_it_is_better(tmp_path):
    folder = str(tmp_path / "pool")
    DemonstrationStore.create(ROWS, path=folder, progress=False).close()
    few = ["--calls", "80", "--method", "random", "-k", "1", "--order", "similar-last", "--answer-format", "linear"]
    command = ["tune", "--store", folder, "--model", "baseline", "--cache", f"{tmp_path}/a.sqlite", *few]
    dry = CliRunner().invoke(app, [*command, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert re.search(r"\d+ calls, about [\d,]+ tokens", dry.output)
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["kept"] is False  # one random demonstration is not better than eight that were chosen
    with DemonstrationStore.open(folder) as opened:
        assert opened.tuned() is None


def test_always_keeps_the_default_where_it_wins(tmp_path):
    folder = str(tmp_path / "pool")
    with DemonstrationStore.create(ROWS, path=folder, progress=False) as store:
        store.set_tuned("NER", BEST)
    few = ["--calls", "80", "--method", "random", "-k", "1", "--order", "similar-last", "--answer-format", "linear"]
    command = ["tune", "--store", folder, "--model", "baseline", "--cache", f"{tmp_path}/a.sqlite", *few]
    for more, kept in ([], BEST), (["--always"], TunedSettings()):
        done = CliRunner().invoke(app, [*command, *more])
        assert done.exit_code == 0, done.output
        assert "The default is the best" in done.output
        with DemonstrationStore.open(folder) as opened:
            assert opened.tuned() == kept


def test_nothing_is_kept_where_half_of_the_requests_failed(tmp_path, monkeypatch):
    class Half(CopyBaseline):
        name = "half"
        calls = 0

        def complete(self, prompt, *, constraint=None):
            self.calls += 1
            if self.calls % 3:
                raise ValueError("no answer")
            return super().complete(prompt)

    monkeypatch.setattr("ruie_components.cli.tune.chat_model", lambda *_: Half())
    folder = str(tmp_path / "pool")
    with DemonstrationStore.create(ROWS, path=folder, progress=False) as store:
        store.set_tuned("NER", BEST)
    few = ["--calls", "80", "--method", "bm25", "-k", "1", "--order", "similar-last", "--answer-format", "linear"]
    command = ["tune", "--store", folder, "--cache", f"{tmp_path}/a.sqlite", *few, "--always"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "requests failed, which is half of them or more" in done.output
    assert "the store keeps what it has" in done.output
    assert "--always" not in done.output
    with DemonstrationStore.open(folder) as opened:
        assert opened.tuned() == BEST
    again = json.loads(CliRunner().invoke(app, [*command, "--cache", f"{tmp_path}/b.sqlite", "--json"]).stdout)
    assert again["has_failed"]
    assert not again["kept"]


def test_tuned_settings_survive_closing(tmp_path):
    folder = tmp_path / "pool"
    with DemonstrationStore.create(ROWS[:8], path=folder, progress=False) as store:
        store.set_tuned("NER", BEST)
        assert store.count() == 8
    with DemonstrationStore.open(folder) as opened:
        assert opened.tuned() == BEST
