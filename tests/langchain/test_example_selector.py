import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.example_selectors import SemanticSimilarityExampleSelector
from langchain_core.messages import SystemMessage
from langchain_core.prompts import (
    ChatPromptTemplate,
    FewShotChatMessagePromptTemplate,
    FewShotPromptTemplate,
    PromptTemplate,
)
from langchain_core.runnables import RunnableParallel
from langchain_core.vectorstores import InMemoryVectorStore

from ruie_components import DemonstrationStore, Example, Extractor, Selector, prompts
from ruie_components.langchain import RUIEExampleSelector, UIEOutputParser, load_chat_model
from ruie_components.starter import starter_examples
from ruie_components.store import TunedSettings

from ..pool import EXAMPLES, QUERIES, ner

BRACES = EXAMPLES[4]


class SameVectors(Embeddings):
    """Blocks to the vectors that the store has of them."""

    def __init__(self, encoder, examples) -> None:
        queries = [example.query for example in examples]
        self.texts = [prompts.render_demonstration(example) for example in examples]
        self.vectors = dict(zip(self.texts, encoder.encode_examples(examples), strict=True))
        self.queries = dict(zip(map(prompts.render_query, queries), encoder.encode_queries(queries), strict=True))

    def embed_documents(self, texts):
        return [self.vectors[text].tolist() for text in texts]

    def embed_query(self, text):
        return self.queries[text].tolist()


def test_similarity_is_the_selection_of_langchain_s_own_example_selector():
    """SemanticSimilarityExampleSelector, over the same vectors, chooses the same examples in the same order."""
    rows = [example.model_dump(by_alias=True) for example in starter_examples("NER") if example.annotations]
    labels = sorted({label for row in rows for label in row["schema"]})  # of one schema: ours puts others last
    examples = [Example.model_validate({**row, "schema": labels}) for row in rows]
    asked, pool = examples[:20], examples[20:]
    with DemonstrationStore.create(pool, pool="same-vectors", progress=False) as store:
        same = SameVectors(store.encoder, examples)
        theirs = SemanticSimilarityExampleSelector(vectorstore=InMemoryVectorStore(same), k=4, input_keys=["block"])
        for example in pool:
            theirs.add_example({"block": prompts.render_demonstration(example), "id": example.content_id})
        assert len(theirs.vectorstore.store) == len(pool)
        ours = Selector("similarity", k=4).select_many(store, [example.query for example in asked])
        for example, shown in zip(asked, ours, strict=True):
            chosen = theirs.select_examples({"block": prompts.render_query(example.query)})
            assert [one["id"] for one in chosen] == [one.example.content_id for one in shown]


@pytest.fixture
def selector(store):
    return RUIEExampleSelector(store, task="NER", k=3)


def test_the_most_similar_is_last(selector, store):
    found = Selector(k=3).select(store, QUERIES["NER"])
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    chosen = selector.select_examples({"text": QUERIES["NER"].text, "labels": ["person", "place"]})
    assert [one["id"] for one in chosen] == [shown.example.content_id for shown in reversed(found)]
    assert [one["score"] for one in chosen] == sorted(one["score"] for one in chosen)
    last = found[0].example
    assert chosen[-1]["input"] == prompts.render_query(last.query)
    assert chosen[-1]["output"] == prompts.render_answer(last)
    assert (chosen[-1]["text"], chosen[-1]["labels"]) == (last.text, list(last.labels))


async def test_what_is_asked_comes_from_the_variables_or_the_constructor(selector, store):
    query = QUERIES["EAE"]
    variables = {"text": query.text, "task": "EAE", "labels": query.labels, "event": query.event}
    by_variables = selector.select_examples(variables)
    assert {one["task"] for one in by_variables} == {"EAE"}
    assert selector.select_examples({"query": query}) == by_variables
    assert await selector.aselect_examples({"query": query}) == by_variables
    fixed = RUIEExampleSelector(store, k=3, task="EAE", labels=query.labels, event=query.event)
    assert fixed.select_examples({"input": query.text}) == by_variables
    named = RUIEExampleSelector(store, task="NER", text_key="sentence", k=1)
    assert len(named.select_examples({"sentence": "Ada.", "text": 3})) == 1


def test_variables_without_a_text_are_an_error(selector):
    with pytest.raises(ValueError, match=r"no text under 'text' or 'input'; it has \['question'\].*text_key"):
        selector.select_examples({"question": "Ada?"})
    with pytest.raises(ValueError, match="text is empty"):
        selector.select_examples({"text": ""})


def few_shot(selector, example_prompt=None):
    return FewShotPromptTemplate(
        example_selector=selector,
        example_prompt=example_prompt or selector.example_prompt,
        prefix="Find the names.",
        suffix='Input: "{text}"\nOutput:',
        input_variables=["text"],
    )


async def test_the_string_template_even_with_braces(store):
    selector = RUIEExampleSelector(store, task="NER", k=5, answer_format="json")
    prompt = few_shot(selector)
    text = "Cy met {none}"
    shown = prompt.format(text=text)
    blocks = [prompts.render_demonstration(found.example, "json") for found in reversed(store.search(ask(text), 5))]
    assert shown == "\n\n".join(["Find the names.", *blocks, f'Input: "{text}"\nOutput:'])
    assert BRACES.text in shown
    assert await prompt.aformat(text=text) == shown


def ask(text):
    return QUERIES["NER"].model_copy(update={"text": text})


async def test_the_chat_template_even_with_braces(store):
    selector = RUIEExampleSelector(store, task="NER", k=5, answer_format="json")
    examples = FewShotChatMessagePromptTemplate(
        example_selector=selector, example_prompt=selector.chat_example_prompt, input_variables=["text"]
    )
    prompt = ChatPromptTemplate.from_messages([("system", "Find."), examples, ("human", "{text}")])
    messages = prompt.format_messages(text="Cy met {none}")
    assert [message.type for message in messages] == ["system", *["human", "ai"] * 5, "human"]
    nearest = store.search(ask("Cy met {none}"), 1)[0].example
    assert messages[-3].content == prompts.render_query(nearest.query)
    assert messages[-2].content == prompts.render_answer(nearest, "json")
    assert messages[-1].content == "Cy met {none}"
    assert await prompt.aformat_messages(text="Cy met {none}") == messages


def template_of(selector):
    """The template of docs/how-to/example-selector.md."""
    examples = FewShotChatMessagePromptTemplate(
        example_selector=selector, example_prompt=selector.chat_example_prompt, input_variables=["text"]
    )
    return ChatPromptTemplate.from_messages([SystemMessage(selector.instruction), examples, selector.input_prompt])


def pairs(messages):
    return [(message.type, message.content) for message in messages]


@pytest.mark.parametrize("answer_format", ["linear", "json"])
@pytest.mark.parametrize("text", ["In Oslo Ada met Dan.", "Cy met\n{none}", 'He said "no".'])
async def test_a_template_sends_what_the_extractor_sends(store, text, answer_format):
    selector = RUIEExampleSelector(store, task="NER", k=4, answer_format=answer_format)
    expected = Extractor(store, "baseline", task="NER", k=4, answer_format=answer_format).prompt(text).messages
    prompt = template_of(selector)
    assert prompt.input_variables == ["text"]
    assert pairs(prompt.format_messages(text=text)) == expected
    assert pairs(await prompt.aformat_messages(text=text)) == expected


def test_a_template_takes_what_the_pool_was_tuned_to():
    tuned = TunedSettings(method="bm25", k=2, order="similar-first", answer_format="json")
    with DemonstrationStore.create(EXAMPLES, pool="tuned", progress=False) as store:
        store.set_tuned("NER", tuned)
        prompt = template_of(RUIEExampleSelector(store, task="NER"))
        expected = Extractor(store, "baseline", task="NER").prompt("In Oslo Ada met Dan.")
        assert (len(expected.demonstrations), expected.order) == (2, "similar-first")
        assert pairs(prompt.format_messages(text="In Oslo Ada met Dan.")) == expected.messages


def test_a_template_for_an_event(store):
    query = QUERIES["EAE"]
    selector = RUIEExampleSelector(store, task="EAE", k=2, labels=query.labels, text_key="sentence")
    messages = template_of(selector).format_messages(sentence=query.text, text=query.text, event=query.event)
    assert pairs(messages) == Extractor(store, "baseline", k=2).prompt(query).messages


def test_the_input_of_a_template_may_have_another_name(store):
    query = QUERIES["NER"]
    selector = RUIEExampleSelector(store, task="NER", labels=query.labels, k=0)
    prompt = ChatPromptTemplate.from_messages([selector.input_prompt])
    expected = [("human", prompts.render_query(query))]
    for variables in ({"text": query.text}, {"input": query.text}, {"query": query}):
        assert pairs(prompt.format_messages(**variables)) == expected
        assert pairs(prompt.invoke(variables).messages) == expected
    with pytest.raises(ValueError, match=r"it has \['question'\]: name the key of the text with text_key"):
        prompt.invoke({"question": query.text})
    named = RUIEExampleSelector(store, task="NER", labels=query.labels, k=0, text_key="question")
    prompt = ChatPromptTemplate.from_messages([named.input_prompt])
    assert prompt.input_variables == ["question"]
    assert pairs(prompt.invoke({"question": query.text}).messages) == expected


async def test_a_chain_of_template_model_and_parser(store):
    selector = RUIEExampleSelector(store, task="NER", k=3)
    model = load_chat_model("baseline")
    chain = RunnableParallel(query=selector.query, answer=template_of(selector) | model) | UIEOutputParser()
    expected = Extractor(store, "baseline", task="NER", k=3).extract("In Oslo Ada met Dan.").extraction
    assert expected.entities
    assert chain.invoke({"text": "In Oslo Ada met Dan."}) == expected
    assert (await chain.ainvoke({"text": "In Oslo Ada met Dan."})) == expected


def test_a_bare_template_shows_texts_alone(store):
    selector = RUIEExampleSelector(store, task="NER", k=2, labels=["person"], bare=True)
    system, *examples, last = pairs(template_of(selector).format_messages(text="Cy met {none}"))
    assert system[1].endswith("\n\nSchema: [person]")
    assert [role for role, _ in examples] == ["human", "ai"] * 2
    assert {content for role, content in examples if role == "human"} <= {example.text for example in EXAMPLES}
    assert last == ("human", "Cy met {none}")


def test_a_template_with_keys_that_examples_lack_lists_those_they_have(selector):
    question = PromptTemplate.from_template("{q} {a}")
    with pytest.raises(KeyError, match=r"no 'a'; write its prompt with \{input\}, \{output\}, \{text\}"):
        few_shot(selector, question).format(text="Ada slept.")


async def test_examples_are_added_once_and_deleted(selector, store):
    new = ner("Dan slept in Oslo.", Dan="person", Oslo="place")
    before = store.count()
    first = selector.add_example(new.to_row())
    second = await selector.aadd_example(new)
    assert first == second == new.content_id
    assert store.count() == before + 1
    assert first in [one["id"] for one in selector.select_examples({"text": "Eve slept in Oslo."})]
    selector.delete([first, "unknown"])
    assert store.count() == before


def test_a_wrong_row_is_refused_and_nothing_is_stored(selector, store):
    row = EXAMPLES[0].to_row()
    row["entities"][0]["start"] += 1
    before = store.count()
    with pytest.raises(ValueError, match="span 'Ada'"):
        selector.add_example(row)
    assert store.count() == before


def test_variables_that_the_prompt_uses_for_something_else_are_left_alone(store):
    variables = {"text": "Ada met Bob.", "labels": "city, airline", "task": "Extract!", "metadata": "x", "id": 3}
    with pytest.raises(ValueError, match="Extract!"):
        RUIEExampleSelector(store, k=1, task="NER").select_examples(variables)
    selector = RUIEExampleSelector(store, k=1, task="NER", variables=())
    assert len(selector.select_examples(variables)) == 1
    assert selector.query(variables).labels == selector.query({"text": "Ada met Bob."}).labels
