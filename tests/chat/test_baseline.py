import pytest

from ruie_components import Demonstration, Example, Query, prompts
from ruie_components.chat import CopyBaseline, MessageList
from ruie_components.chat.baseline import copy_answer

from ..pool import ANSWERS, EXAMPLES, QUERIES, detection, ner


def prompt_for(query: Query, form: str = "linear", examples=EXAMPLES) -> prompts.Prompt:
    shown = [Demonstration(example=example, score=1.0) for example in examples if example.task == query.task]
    return prompts.build_prompt(query, shown, answer_format=form)


@pytest.mark.parametrize("task", QUERIES)
def test_it_copies_in_all_four_tasks(task):
    prompt = prompt_for(QUERIES[task])
    assert copy_answer(prompt.text) == ANSWERS[task]
    assert CopyBaseline().complete(prompt).text == ANSWERS[task]
    assert CopyBaseline().complete(MessageList(prompt.messages)).text == ANSWERS[task]
    assert CopyBaseline().complete(MessageList([("human", prompt.text)])).text == ANSWERS[task]


def test_it_answers_in_the_form_of_the_demonstrations():
    answer = CopyBaseline().complete(prompt_for(QUERIES["RE"], "json")).text
    assert answer == '{"relations": [{"type": "works for", "head": "Ada", "tail": "Bolt"}]}'


@pytest.mark.parametrize("task", QUERIES)
@pytest.mark.parametrize("form", ["linear", "json"])
async def test_streaming_and_async_say_the_same(task, form):
    prompt = prompt_for(QUERIES[task], form)
    model = CopyBaseline()
    whole = model.complete(prompt)
    pieces = list(model.stream(prompt))
    assert len(pieces) > 2
    assert sum(pieces[1:], pieces[0]) == await model.acomplete(prompt) == whole
    assert [piece async for piece in model.astream(prompt)] == pieces
    assert whole.input_tokens > whole.output_tokens > 0


@pytest.mark.parametrize("task", QUERIES)
def test_without_demonstrations_it_knows_nothing(task):
    for form in ("linear", "json"):
        assert CopyBaseline().complete(prompt_for(QUERIES[task], form, [])).text == prompts.NOTHING


def test_it_copies_only_what_the_input_holds_and_the_schema_asks():
    shown = [ner("Ada slept in Rome.", Ada="person", Rome="place")]
    query = Query(task="NER", text="Adamant in rome, but Ada?", labels=["person"])
    assert copy_answer(prompt_for(query, examples=shown).text) == "person: Ada"


def test_the_most_similar_demonstration_counts_first():
    shown = [ner("Then Paris came.", Paris="person"), ner("We like Paris.", Paris="place")]
    query = Query(task="NER", text="Is Paris nice?", labels=["person", "place"])
    assert copy_answer(prompt_for(query, examples=shown).text) == "person: Paris"


def test_a_shape_beside_the_same_word_is_an_analogy():
    query = Query(task="NER", text="He works in Big Harbour now.", labels=["person", "place"])
    shown = [ner("Ada slept in Rome.", Ada="person", Rome="place")]
    assert copy_answer(prompt_for(query, examples=shown).text) == "place: Big Harbour"


def test_a_trigger_may_have_another_ending():
    shown = [detection("Rebels attacked Rome.", "attacked", "attack")]
    query = Query(task="ED", text="Attacking Rome failed.", labels=["sale", "attack"])
    assert copy_answer(prompt_for(query, examples=shown).text) == "attack: Attacking"


def test_scripts_without_spaces():
    shown = [Example(task="NER", text="東京です", labels=["place"], entities=[entity("東京", 0)])]
    query = Query(task="NER", text="私は東京にいる", labels=["place"])
    assert copy_answer(prompt_for(query, examples=shown).text) == "place: 東京"


def test_georgian_parts_its_words():
    shown = [Example(task="NER", text="ანა", labels=["place"], entities=[entity("ანა", 0)])]
    query = Query(task="NER", text="ანანო და ანა", labels=["place"])
    assert copy_answer(prompt_for(query, examples=shown).text) == "place: ანა"
    assert copy_answer(prompt_for(query.model_copy(update={"text": "ანანო"}), examples=shown).text) == prompts.NOTHING


def entity(text: str, start: int) -> dict:
    return {"text": text, "type": "place", "start": start, "end": start + len(text)}


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "Hello!",
        'Task: Cooking\nSchema: [a]\nInput: "b"\nOutput:',
        'Task: Event detection\nSchema: []\nInput: ""\nOutput:',
    ],
    ids=["empty", "no block", "no such task", "empty block"],
)
def test_what_is_no_prompt_of_ours_gets_none(prompt):
    assert copy_answer(prompt) == prompts.NOTHING
    assert (
        CopyBaseline().complete(MessageList([("human", prompt), ("ai", "x"), ("human", "?")])).text == prompts.NOTHING
    )


def test_a_trigger_that_is_not_in_the_text_gets_none():
    query = QUERIES["EAE"].model_copy(update={"text": "Acme bought it in Rome."})
    assert copy_answer(prompt_for(query).text) == prompts.NOTHING


def test_a_text_of_two_megabytes():
    query = Query(task="NER", text="words " * 350_000 + "and Ada. " * 20, labels=["person"])
    assert copy_answer(prompt_for(query).text).count("person: Ada") == 20
