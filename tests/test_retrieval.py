"""From what a user has to a query and its demonstrations."""

import pytest

from ruie_components import DemonstrationRetriever, DemonstrationStore, Query, Selector, StoreError
from ruie_components.selection import DEFAULT_K
from ruie_components.store import TunedSettings
from ruie_components.types import EventQuery

from .pool import EXAMPLES, QUERIES

NER, EAE = QUERIES["NER"], QUERIES["EAE"]
TEXT = NER.text


@pytest.fixture(scope="module")
def store():
    with DemonstrationStore.create(EXAMPLES, progress=False) as store:
        yield store


@pytest.fixture(scope="module")
def entities():
    with DemonstrationStore.create([each for each in EXAMPLES if each.task == "NER"], progress=False) as store:
        yield store


@pytest.mark.parametrize(
    "value",
    [
        TEXT,
        {"text": TEXT},
        {"input": TEXT, "something": "else"},
        {"text": TEXT, "task": "ner", "labels": ["person", "place"]},
        {"text": TEXT, "schema": ["person", "place"]},
        {"query": NER},
        NER,
    ],
)
def test_every_kind_of_input_means_the_same_query(entities, value):
    assert DemonstrationRetriever(entities).query(value) == NER


def test_of_an_example_its_query_is_meant(store):
    assert DemonstrationRetriever(store).query(EXAMPLES[-1]) == EXAMPLES[-1].query
    assert DemonstrationRetriever(store).query({"query": EXAMPLES[0]}) == EXAMPLES[0].query


def test_a_call_goes_before_the_input_and_the_input_before_the_retriever(store):
    retriever = DemonstrationRetriever(store, task="NER", labels=["person"], event={"type": "sale", "trigger": "sold"})
    assert retriever.query(TEXT).labels == ("person",)
    assert retriever.query({"text": TEXT, "labels": ["place"]}).labels == ("place",)
    assert retriever.query({"text": TEXT, "labels": ["place"]}, labels=["pet"]).labels == ("pet",)
    assert retriever.query(NER, labels=["pet"]) == NER.model_copy(update={"labels": ("pet",)})
    assert retriever.query(EAE.text, task="EAE").event == EventQuery(type="sale", trigger="sold")
    assert retriever.query(TEXT).event is None


def test_the_text_can_have_a_key_of_its_own(entities):
    retriever = DemonstrationRetriever(entities, text_key="question")
    assert retriever.query({"question": TEXT, "text": "another"}) == NER
    with pytest.raises(ValueError, match=r"no text under 'question'; it has \['text'\]"):
        retriever.query({"text": TEXT})


@pytest.mark.parametrize(
    ("value", "given", "message"),
    [
        (TEXT, {}, 'holds NER, RE, ED, EAE: give task="NER"'),
        (TEXT, {"task": "NOR"}, "unknown task 'NOR'"),
        (EAE.text, {"task": "EAE"}, "EAE needs the event"),
        (TEXT, {"task": "NER", "labels": "person"}, "expected a list of labels, got the string 'person'"),
        (" ", {"task": "NER"}, "text is empty"),
        ({"title": TEXT}, {}, r"no text under 'text' or 'input'; it has \['title'\]"),
    ],
)
def test_what_is_missing_or_ambiguous_is_an_error_that_says_what_to_do(store, value, given, message):
    retriever = DemonstrationRetriever(store)
    for call in (retriever.query, retriever.retrieve):
        with pytest.raises(ValueError, match=message):
            call(value, **given)


def test_a_task_whose_examples_were_all_deleted_is_no_choice():
    with DemonstrationStore.create(EXAMPLES, pool="emptied", progress=False) as store:
        store.delete([each.content_id for each in EXAMPLES if each.task != "NER"])
        assert store.tasks == ("NER",)
        assert DemonstrationRetriever(store).query(TEXT).task == "NER"
        store.set_tuned("NER", TunedSettings(k=3))
        assert DemonstrationRetriever(store).selector.k == 3
        store.add([each for each in EXAMPLES if each.task == "RE"])
        assert store.tasks == ("NER", "RE")


def test_tuned_settings_that_are_not_used_are_named(caplog):
    with DemonstrationStore.create(EXAMPLES, pool="several", progress=False) as store:
        store.set_tuned("RE", TunedSettings(k=3))
        assert DemonstrationRetriever(store, task="RE").selector.k == 3
        assert DemonstrationRetriever(store, task="NER").selector.k == DEFAULT_K
        assert not caplog.messages
        assert DemonstrationRetriever(store).selector.k == DEFAULT_K
        (message,) = caplog.messages
        assert "chose for RE are not used: pool 'several' holds several tasks; give task='RE'" in message


def test_wrong_arguments_are_refused_at_once(store):
    with pytest.raises(TypeError, match=r"expected a Selector, got str; use Selector\("):
        DemonstrationRetriever(store, "mmr")
    for given in ({"k": -1}, {"task": "NOR"}, {"labels": "person"}, {"event": {"type": "sale"}}):
        with pytest.raises(ValueError, match=r"k is|k must|NOR|list of labels|trigger"):
            DemonstrationRetriever(store, **given)
    with pytest.raises(TypeError, match="got int"):
        DemonstrationRetriever(store, task="NER").query(3)


@pytest.mark.parametrize(
    ("options", "given", "count"),
    [
        ({}, {}, DEFAULT_K),
        ({"k": 3}, {}, 3),
        ({"selector": Selector(k=2)}, {}, 2),
        ({"selector": Selector("bm25", k=2), "k": 1}, {}, 1),
        ({"k": 1}, {"k": 2}, 2),
        ({"k": 0}, {}, 0),
    ],
)
def test_k_is_the_calls_or_the_retrievers_or_the_selectors(entities, options, given, count):
    assert len(DemonstrationRetriever(entities, **options).retrieve(TEXT, **given)) == count


async def test_one_by_one_together_and_async_give_the_same(store):
    retriever = DemonstrationRetriever(store, k=2)
    one_by_one = [retriever.retrieve(query) for query in QUERIES.values()]
    assert retriever.retrieve_many(list(QUERIES.values())) == one_by_one
    assert [await retriever.aretrieve(query) for query in QUERIES.values()] == one_by_one
    assert [each.score for each in one_by_one[0]] == sorted((each.score for each in one_by_one[0]), reverse=True)


def test_an_input_that_fails_leaves_the_others_their_demonstrations(entities):
    values = [TEXT, " ", QUERIES["RE"], 3, {"text": "Cy ran."}]
    results = DemonstrationRetriever(entities, k=1).retrieve_many(values)
    kinds = [type(result).__name__ for result in results]
    assert kinds == ["list", "ValueError", "StoreError", "TypeError", "list"]
    assert isinstance(results[2], StoreError)
    assert DemonstrationRetriever(entities).retrieve_many([]) == []


def test_a_query_that_says_nothing_of_labels_needs_some_in_the_pool(entities):
    with pytest.raises(StoreError, match="no RE examples"):
        DemonstrationRetriever(entities, task="RE").query("Ada works for Acme.")
    assert DemonstrationRetriever(entities, task="RE", labels=["works for"]).query(TEXT) == Query(
        task="RE", text=TEXT, labels=["works for"]
    )


def test_its_repr_is_short_and_says_what_holds(entities):
    shown = repr(DemonstrationRetriever(entities, Selector("mmr"), k=3, task="NER"))
    assert "pool='default'" in shown
    assert "mmr" in shown
    assert "k=3" in shown
    assert "task='NER'" in shown
    assert "event" not in shown


def test_the_id_and_metadata_of_a_mapping_go_with_its_query(entities):
    query = DemonstrationRetriever(entities).query({"text": TEXT, "id": 7, "metadata": {"page": 3}})
    assert (query.id, query.metadata) == (7, {"page": 3})


def test_wrong_arguments_say_what_to_give(entities):
    with pytest.raises(TypeError, match="expected a DemonstrationStore as store, got str"):
        DemonstrationRetriever("pool")
    retriever = DemonstrationRetriever(entities)
    with pytest.raises(ValueError, match=r"the list of labels is empty: give labels=.*or none for those of the pool"):
        retriever.query(TEXT, labels=[])
    with pytest.raises(ValueError, match="labels: expected a list of labels, got the mapping"):
        retriever.query({"text": TEXT, "schema": {"type": "object"}})
    with pytest.raises(ValueError, match=r"^text is empty: there is nothing to extract from$"):
        retriever.query(" ")
