import asyncio

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError

from ruie_components import Example, StoreError, prompts
from ruie_components.langchain import RUIERetriever
from ruie_components.selection import Selector
from ruie_components.store import DemonstrationStore, TunedSettings

from ..pool import EXAMPLES, QUERIES, ner


class TestStandard(RetrieversIntegrationTests):
    """LangChain's own suite, as it is."""

    @pytest.fixture(autouse=True)
    def _with_store(self, store):
        self.store = store

    @property
    def retriever_constructor(self):
        return RUIERetriever

    @property
    def retriever_constructor_params(self):
        return {"store": self.store, "task": "NER"}

    @property
    def retriever_query_example(self):
        return "Ada met Bob in Rome."


class Runs(BaseCallbackHandler):
    def __init__(self):
        self.started, self.ended, self.failed, self.metadata = [], [], [], []

    def on_retriever_start(self, serialized, query, *, metadata=None, **_):
        self.started.append(query)
        self.metadata.append(metadata)

    def on_retriever_end(self, documents, **_):
        self.ended.append([document.id for document in documents])

    def on_retriever_error(self, error, **_):
        self.failed.append(error)


@pytest.fixture
def retriever(store):
    return RUIERetriever(store=store, task="NER", k=2)


TEXTS = ["Ada slept.", "Bob met Cy in Rome.", "At Oslo."]


def ids(documents: list[Document]) -> list[str]:
    return [document.id for document in documents]


def test_a_document_shows_the_block_and_keeps_the_example(retriever, store):
    (first, second) = retriever.invoke("Ada met Bob.")
    found = Selector(k=2).select(store, retriever_query("Ada met Bob."))
    assert [first.metadata["score"], second.metadata["score"]] == [shown.score for shown in found]
    assert first.metadata["score"] >= second.metadata["score"]
    example = Example.model_validate(first.metadata["example"])
    assert example == found[0].example
    assert first.id == example.content_id
    assert first.page_content == prompts.render_demonstration(example)
    assert first.metadata["text"] == example.text
    assert first.metadata["answer"] == prompts.render_answer(example)
    assert first.metadata["labels"] == ["person", "place"]
    assert Document.model_validate_json(first.model_dump_json()) == first


def retriever_query(text):
    return QUERIES["NER"].model_copy(update={"text": text})


def test_unknown_fields_are_refused(store):
    with pytest.raises(ValidationError, match="top_k"):
        RUIERetriever(store=store, top_k=3)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        RUIERetriever(store=store, k=-1)
    with pytest.raises(ValidationError, match="NERD"):
        RUIERetriever(store=store, task="NERD")


async def test_both_ways_take_k_and_the_query_of_the_call(retriever):
    assert len(retriever.invoke("Ada.", k=1)) == len(await retriever.ainvoke("Ada.", k=1)) == 1
    event = {"type": "sale", "trigger": "sold"}
    asked = {"task": "EAE", "event": event, "labels": ["place"], "k": 5}
    documents = retriever.invoke("Ada sold it.", **asked)
    assert ids(documents) == ids(await retriever.ainvoke("Ada sold it.", **asked))
    assert [document.metadata["task"] for document in documents] == ["EAE", "EAE"]
    assert retriever.invoke("Ada.", k=0) == []
    assert len(retriever.invoke("Ada.", k=1000)) == 5


async def test_a_batch_is_one_search_and_gives_what_single_calls_give(retriever, searches):
    single = [retriever.invoke(text) for text in TEXTS]
    del searches[:]
    assert retriever.batch(TEXTS) == single
    assert await retriever.abatch(TEXTS) == single
    assert searches == [3, 3]
    assert [len(found) for found in retriever.batch(TEXTS, k=1)] == [1, 1, 1]
    assert retriever.batch([]) == []
    assert await retriever.abatch([]) == []


def test_each_input_of_a_batch_has_its_own_run(retriever):
    runs = Runs()
    found = retriever.batch(TEXTS, {"callbacks": [runs]})
    assert runs.started == TEXTS
    assert runs.ended == [ids(documents) for documents in found]


async def test_one_bad_input_of_a_batch_leaves_the_others(retriever):
    runs = Runs()
    bad = ["Ada.", "  ", "Bob."]
    for results in (
        retriever.batch(bad, {"callbacks": [runs]}, return_exceptions=True),
        await retriever.abatch(bad, {"callbacks": [runs]}, return_exceptions=True),
    ):
        assert [len(found) if isinstance(found, list) else "error" for found in results] == [2, "error", 2]
        assert "text is empty" in str(results[1])
    assert len(runs.failed) == 2
    with pytest.raises(ValueError, match="text is empty"):
        retriever.batch(bad)
    with pytest.raises(ValueError, match="text is empty"):
        await retriever.abatch(bad)


async def test_a_task_that_the_pool_lacks_is_the_inputs_own_error(encoder):
    runs = Runs()
    with DemonstrationStore.create(EXAMPLES[:3], encoder=encoder, progress=False) as store:
        retriever = RUIERetriever(store=store, k=1)
        mixed = [
            "Ada.",
            {"task": "RE", "text": "Ada.", "labels": ["works for"]},
            {"task": "RE", "text": "Ada."},
            "Bob.",
        ]
        for results in (
            retriever.batch(mixed, {"callbacks": [runs]}, return_exceptions=True),
            await retriever.abatch(mixed, {"callbacks": [runs]}, return_exceptions=True),
        ):
            assert [len(found) if isinstance(found, list) else "error" for found in results] == [1, "error", "error", 1]
            assert "has no RE" in str(results[1])
    assert len(runs.failed) == 4


def test_an_empty_schema_is_an_error_and_not_all_labels(store):
    with pytest.raises(ValueError, match="labels"):
        RUIERetriever(store=store, task="NER").invoke("Ada.", labels=[])
    with pytest.raises(ValueError, match="labels"):
        RUIERetriever(store=store, task="NER", labels=()).invoke("Ada.")


def test_k_is_configurable(retriever):
    configurable = retriever.configurable_fields(k=ConfigurableField(id="k"))
    assert len(configurable.invoke("Ada.", config={"configurable": {"k": 4}})) == 4
    assert len(configurable.invoke("Ada.")) == 2
    assert [len(found) for found in configurable.batch(TEXTS, config={"configurable": {"k": 3}})] == [3, 3, 3]


def test_it_works_in_a_chain(retriever):
    chain = RunnableLambda(str.upper) | retriever | RunnableLambda(len)
    assert chain.invoke("ada met bob") == 2
    assert chain.batch(["ada", "bob"]) == [2, 2]


def test_traces_name_the_encoder(retriever, encoder):
    runs = Runs()
    retriever.invoke("Ada.", {"callbacks": [runs]})
    assert runs.metadata[0]["ls_retriever_name"] == "ruie"
    assert runs.metadata[0]["ls_embedding_model"] == encoder.name


def test_a_selector_chooses(store):
    chosen = RUIERetriever(store=store, task="NER", selector=Selector("label-coverage", k=3))
    assert len(chosen.invoke("Ada.")) == 3
    assert len(chosen.invoke("Ada.", k=1)) == 1
    high = RUIERetriever(store=store, task="NER", selector=Selector(score_threshold=1.1))
    assert high.invoke("Ada.") == []


def test_the_inputs_own_example_is_left_out(retriever):
    own = EXAMPLES[1]
    assert own.content_id not in ids(retriever.invoke(own.text, k=10))


def test_what_a_pool_of_one_task_leaves_open(encoder):
    with DemonstrationStore.create([ner("Ada slept.", Ada="person")], encoder=encoder) as store:
        (document,) = RUIERetriever(store=store).invoke("Bob.")
    assert document.metadata["text"] == "Ada slept."


def test_what_can_not_be_searched_says_why(store, encoder):
    with pytest.raises(ValueError, match=r"which task.*NER, RE, ED, EAE"):
        RUIERetriever(store=store).invoke("Ada.")
    with pytest.raises(ValueError, match="EAE needs the event"):
        RUIERetriever(store=store, task="EAE").invoke("Ada sold it.")
    with pytest.raises(ValueError, match="expected a list of labels"):
        RUIERetriever(store=store, task="NER").invoke("Ada.", labels="person")
    with DemonstrationStore.create([], encoder=encoder) as empty:
        with pytest.raises(ValueError, match="holds no task"):
            RUIERetriever(store=empty).invoke("Ada.")
        with pytest.raises(StoreError, match="empty"):
            RUIERetriever(store=empty, task="NER", labels=("person",)).invoke("Ada.")


async def test_many_at_a_time(retriever):
    found = await asyncio.gather(*(retriever.ainvoke(text) for text in TEXTS * 5))
    assert found == retriever.batch(TEXTS) * 5


def test_tuned_settings_of_the_task_of_a_call(encoder, caplog):
    with DemonstrationStore.create(EXAMPLES, encoder=encoder, progress=False) as store:
        store.set_tuned("NER", TunedSettings(k=2))
        assert len(RUIERetriever(store=store, task="NER").invoke("Ada met Bob.")) == 2
        assert len(RUIERetriever(store=store).invoke("Ada met Bob.", task="NER")) == 2
        assert not caplog.records
        retriever = RUIERetriever(store=store, labels=("person",))
        for _ in range(2):
            with pytest.raises(ValueError, match="which task"):
                retriever.invoke("Ada met Bob.")
        assert len(caplog.records) == 1
