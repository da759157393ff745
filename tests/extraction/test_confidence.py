"""Confidence from probabilities of tokens and from agreement: by hand, and with a real model."""

import json
import math
from dataclasses import replace

import pytest

from ruie_components import DemonstrationStore, Example, Extraction, Extractor, Query, answers
from ruie_components.chat import Response, TokenProbability
from ruie_components.extraction import Confidence, ExtractionResult, Usage
from ruie_components.extraction.confidence import agreement, from_tokens
from ruie_components.extraction.results import failed

from ..chat_models import CompleteOnly

QUERY = Query(task="NER", text="Ada met Bob.", labels=["person", "place", "pet"])


def token(text, p, **others):
    alternatives = [(text, math.log(p)), *((name, math.log(q)) for name, q in others.items())]
    return TokenProbability(text, math.log(p), tuple(alternatives))


def test_linear_by_hand():
    tokens = [
        token(" person", 0.6, **{" pet": 0.2, " None": 0.1, " x": 0.05}),
        token(":", 1.0),
        token(" Ada", 0.5, **{" Bob": 0.4}),
        token(";", 0.9),
        token(" p", 0.5, **{" None": 0.4}),
        token("et", 0.3, erson=0.3, lace=0.1, x=0.3),
        token(": ", 1.0),
        token("B", 0.8),
        token("ob", 0.5),
        token("\n\n", 0.9),
    ]
    extraction = answers.parse(" person: Ada; pet: Bob", QUERY)
    first, second = from_tokens(extraction, tokens)
    assert first.label == pytest.approx(0.6 / 0.8)  # of person and pet; None and x are no labels
    assert first.span == pytest.approx(0.5)
    assert first.value == pytest.approx(0.5 * 0.75)
    assert second.label == pytest.approx(0.3 / 0.7)  # pet, person, place; after "p" an x is none
    assert second.span == pytest.approx(0.4)


def test_json_by_hand():
    answer = '{"entities": [{"type": "place", "text": "Bob"}]}'
    tokens = [
        token('{"entities": [{"type": "', 0.9),
        token("pl", 0.4, pe=0.4, t=0.2),
        token("ace", 1.0),
        token('", "text": "', 1.0),
        token("Bob", 0.25),
        token('"}]}', 1.0),
    ]
    (one,) = from_tokens(answers.parse(answer, QUERY), tokens)
    assert one.label == pytest.approx(0.5)
    assert one.span == pytest.approx(0.25)


def test_relations_and_a_schema_of_one_label():
    query = Query(task="RE", text="Ada met Bob.", labels=["met"])
    tokens = [token("met: ", 0.5), token("Ada", 0.5), token(", ", 1.0), token("Bob", 0.5)]
    (one,) = from_tokens(answers.parse("met: Ada, Bob", query), tokens)
    assert one == Confidence(pytest.approx(0.25), pytest.approx(0.25), 1.0)


def test_what_is_not_known_is_not_made_up():
    extraction = answers.parse("person: Ada", QUERY)
    assert from_tokens(extraction, ()) == ()
    assert from_tokens(extraction, [token("other", 0.5)]) == ()
    bare = [TokenProbability("person", math.log(0.5)), TokenProbability(": Ada", math.log(0.5))]
    (one,) = from_tokens(extraction, bare)
    assert one == Confidence(pytest.approx(0.5), pytest.approx(0.5), None)


def entities(*found):
    spans = {"Ada": (0, 3), "Bob": (8, 11)}
    rows = [{"type": label, "text": text, "start": spans[text][0], "end": spans[text][1]} for label, text in found]
    return Extraction(task="NER", text=QUERY.text, labels=QUERY.labels, entities=rows)


def test_agreement_by_hand():
    extraction = entities(("person", "Ada"), ("pet", "Bob"))
    samples = [entities(("person", "Ada")), entities(("person", "Ada"), ("person", "Bob")), entities(), extraction]
    assert [one.value for one in agreement(extraction, samples)] == [0.75, 0.25]
    with pytest.raises(ValueError, match="at least one"):
        agreement(extraction, [])


class Sampling(CompleteOnly):
    """Answers differently each time."""

    name = "sampling"

    def __init__(self, temperature):
        self.settings = {"temperature": temperature}
        self.answers = iter(["person: Ada; pet: Bob", "person: Ada", "person: Ada; pet: Bob", "person: Bob"])

    def complete(self, prompt, *, constraint=None):
        return Response(next(self.answers))


@pytest.fixture(scope="module")
def store(encoder):
    example = Example(
        task="NER",
        text="Cy met Dan in Oslo.",
        labels=QUERY.labels,
        entities=[
            {"type": "person", "text": "Cy", "start": 0, "end": 2},
            {"type": "person", "text": "Dan", "start": 7, "end": 10},
            {"type": "place", "text": "Oslo", "start": 14, "end": 18},
        ],
    )
    with DemonstrationStore.create([example], encoder=encoder, pool="confidence", progress=False) as opened:
        yield opened


def test_sampled_answers_agree(store):
    extractor = Extractor(store, Sampling(0.7))
    result = extractor.extract(QUERY)
    assert result.confidence == ()
    agreed = extractor.agree(result, samples=3)
    assert [one.value for one in agreed.confidence] == pytest.approx([2 / 3, 1 / 3])
    assert agreed.usage.seconds > result.usage.seconds
    extractor = Extractor(store, Sampling(0.7))
    sampled = [extractor.extract(QUERY) for _ in range(3)]
    lost = failed(QUERY, result.prompt, ValueError("no answer"))
    given = Extractor(store, Sampling(0)).agree(sampled[0], [*sampled[1:], lost])
    assert given.confidence == agreement(sampled[0].extraction, [one.extraction for one in sampled[1:]])
    assert given.usage.seconds == pytest.approx(sum(one.usage.seconds for one in sampled))
    counted = [replace(one, usage=Usage(10, 3)) for one in sampled]
    usage = extractor.agree(replace(result, usage=Usage(5)), [*counted, lost]).usage
    assert (usage.input_tokens, usage.output_tokens) == (35, 9)
    with pytest.raises(ValueError, match="at least one sample"):
        extractor.agree(result, [lost])
    with pytest.raises(ValueError, match=r"temperature of 'sampling' is 0"):
        Extractor(store, Sampling(0)).agree(result)


def test_rows_keep_confidence():
    result = ExtractionResult(entities(("person", "Ada")), None, Usage(), confidence=(Confidence(0.5, 0.5, None),))
    row = json.loads(json.dumps(result.to_row()))
    assert ExtractionResult.from_row(row).confidence == result.confidence
    assert [flat["confidence"] for flat in result.to_rows()] == [0.5]


@pytest.mark.filterwarnings("ignore::ruie_components.extraction.AnswerTruncatedWarning")
def test_a_real_model_is_sure_to_a_degree(small_llm, store):
    pytest.importorskip("langchain_core")
    from ruie_components.langchain import create_extraction_chain

    result = Extractor(store, small_llm, k=1).extract(QUERY)
    assert result.extraction.annotations
    assert len(result.confidence) == len(result.extraction.annotations)
    for one in result.confidence:
        assert 0 < one.value <= 1
        assert one.value == pytest.approx(one.span * one.label)
    chained = create_extraction_chain(small_llm, store, k=1).invoke(QUERY)
    assert [one.value for one in chained.confidence] == pytest.approx(
        [one.value for one in result.confidence], abs=0.05
    )
