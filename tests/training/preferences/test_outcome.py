"""Preference by outcome: the F1 of a chat model's answer with that one demonstration in the prompt."""

import pytest
from ruie_training.preferences import ScoresMissingError
from ruie_training.preferences.outcome import OutcomeScorer

from ruie_components import Example, prompts
from ruie_components.types import Demonstration


def row(text, *names):
    entities = [
        {"text": name, "start": text.index(name), "end": text.index(name) + len(name), "type": "person"}
        for name in names
    ]
    return Example(task="NER", text=text, labels=["person", "city"], entities=entities)


ADA, BOTH, RAIN = row("Ada slept.", "Ada"), row("Bob met Eve.", "Bob", "Eve"), row("Rain fell.")


def copies_the_form(messages):
    """Answers with what the demonstration's answer names, and with Bob and Rain where it names somebody."""
    shown = messages[2][1]
    return "None" if shown == "None" else f"{shown}; person: Bob; person: Rain"


def test_f1_of_the_answer():
    scores = OutcomeScorer(copies_the_form, concurrency=2).score(
        [(ADA, BOTH), (BOTH, BOTH), (RAIN, BOTH), (RAIN, RAIN), (ADA, RAIN)]
    )
    assert scores == pytest.approx([2 / 3, 1, 0, 1, 0])


def test_the_model_sees_the_prompt_of_one_demonstration():
    seen = []

    def record(messages):
        seen.append(messages)
        return "None"

    OutcomeScorer(record).score([(ADA, BOTH)])
    assert seen == [prompts.build_prompt(BOTH.query, [Demonstration(example=ADA, score=1)]).messages]


def test_a_model_out_of_reach_is_an_error_that_counts():
    def fails_on_rain(messages):
        if "Rain" in messages[-1][1]:
            raise ConnectionError("gone")
        return "person: Ada"

    steps = []
    with pytest.raises(ScoresMissingError, match=r"1 of 3 pairs have no score: .*gone") as caught:
        OutcomeScorer(fails_on_rain, retries=0).score([(BOTH, ADA), (ADA, RAIN), (BOTH, ADA)], steps.append)
    assert steps == [1, 1, 1]
    assert caught.value.scores == [1.0, None, 1.0]


def test_a_fault_of_the_program_is_not_hidden():
    def broken(messages):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        OutcomeScorer(broken).score([(ADA, BOTH)])


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(TypeError, match="expected a chat model, got int"):
        OutcomeScorer(7)
