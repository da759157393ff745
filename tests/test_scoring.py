import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruie_components import Example, Extraction, Query, prompts
from ruie_components.answers import parse
from ruie_components.scoring import Counts, normalise, score, score_answers

TEXT = "China met China in Paris, location unknown."


def ner(*spans: tuple[int, int, str], text: str = TEXT, dataset: str | None = None) -> Example:
    entities = [{"text": text[a:b], "type": label, "start": a, "end": b} for a, b, label in spans]
    labels = ["country", "location", "a, b"]
    return Example(task="NER", text=text, labels=labels, entities=entities, dataset=dataset)


def found(example: Example, answer: str) -> Extraction:
    return parse(answer, example.query)


def test_equals_the_reference_on_all_golden_cases(golden):
    reference = golden("paper_f1.json")
    totals: dict[str, Counts] = {}
    assert len(reference["cases"]) == 108
    for case in reference["cases"]:
        result = score_answers(case["task"], case["query"], case["answer"], case["generated"])
        assert result.truth == case["truth"], case["row_id"]
        assert result.predicted == case["predicted"], case["row_id"]
        assert [result.tp, result.fn, result.fp] == case["tp_fn_fp"]
        counts = Counts(*result[2:])
        assert (counts.precision, counts.recall, counts.f1) == (
            case["precision"],
            case["recall"],
            pytest.approx(case["f1"], abs=1e-15),  # the last bit depends on the order of the divisions
        )
        totals[case["task"]] = totals.get(case["task"], Counts()) + counts
    micro = {task: {"tp": c.tp, "fn": c.fn, "fp": c.fp, "f1": c.f1} for task, c in totals.items()}
    assert micro == reference["micro"]


@pytest.mark.parametrize(
    ("gold", "generated", "counts"),
    [
        pytest.param("None", "None", (0, 0, 0), id="nothing against nothing counts nothing"),
        pytest.param("None", "country: China", (0, 0, 1), id="found where there is nothing"),
        pytest.param("country: China", "none", (0, 1, 0), id="nothing where something is"),
        pytest.param("country: China; country: China", "country: China", (1, 0, 0), id="repeats count once"),
        pytest.param("country: China", "Sure, here: country: China", (1, 0, 0), id="chatter before a label"),
        pytest.param("country: China", "planet: China", (0, 1, 0), id="an unknown label counts nothing"),
        pytest.param("country: China", "country: Japan", (0, 1, 0), id="an NER span outside the block counts nothing"),
        pytest.param("country: China", "country: schema", (0, 1, 1), id="an NER span of the schema line counts"),
        pytest.param("location: Paris", "located: paris", (1, 0, 0), id="location is located"),
    ],
)
def test_paper_rules(gold, generated, counts):
    assert score_answers("NER", prompts.render_query(ner().query), gold, generated)[2:] == counts


def test_labels_are_no_regular_expression():
    block = 'Task: Named entity recognition\nSchema: [c++ (lang), .*]\nInput: "c++ x"\nOutput:'
    assert score_answers("NER", block, "c++ (lang): c++", "c++ (lang): c++")[2:] == (1, 0, 0)
    assert score_answers("NER", block, "None", "other: x").predicted == []


def test_a_block_without_a_schema_is_an_error():
    with pytest.raises(ValueError, match="no line 'Schema"):
        score_answers("NER", "Input: x", "None", "None")


def test_the_schema_is_read_from_its_own_line():
    block = prompts.render_query(Query(task="NER", text="Schema: [x]\nSchema: [y]", labels=["person"]))
    assert score_answers("NER", block, "None", "x: schema; person: schema").predicted == ["person:schema"]


def test_span_mode_counts_repeats_and_offsets():
    example = ner((0, 5, "country"), (10, 15, "country"), (19, 24, "location"))
    once = score([example], [found(example, "country: China; location: Paris")], mode="span")
    assert (once.tp, once.fn, once.fp) == (2, 1, 0)
    assert once.labels["country"] == Counts(1, 1, 0)
    twice = score([example], [found(example, "country: China; country: China; location: Paris")], mode="span")
    assert twice.f1 == 1
    paper = score([example], [found(example, "country: China; location: Paris")])
    assert (paper.tp, paper.fn, paper.fp) == (2, 0, 0)


def test_span_mode_wants_the_right_place():
    example = ner((10, 15, "country"))
    assert score([example], [found(example, "country: China")], mode="span").tp == 0
    assert score([example], [found(example, "country: China")], mode="paper").tp == 1


def test_relations_and_arguments_by_span():
    head, tail = {"text": "Ada", "start": 0, "end": 3}, {"text": "Bob", "start": 8, "end": 11}
    pair = Example(
        task="RE", text="Ada met Bob.", labels=["met"], relations=[{"type": "met", "head": head, "tail": tail}]
    )
    assert score([pair], [found(pair, "met: Bob, Ada")], mode="span").tp == 0
    assert score([pair], [found(pair, "met: Ada, Bob")], mode="span").f1 == 1
    trigger = {"text": "met", "start": 4, "end": 7}
    event = {"type": "meeting", "trigger": trigger, "arguments": [{**head, "role": "who"}]}
    asked = Example(task="EAE", text="Ada met Bob.", labels=["who"], events=[event])
    result = score([pair, asked], [found(pair, "None"), found(asked, "who: Ada; who: Bob")], mode="span")
    assert (result.tp, result.fn, result.fp) == (1, 1, 1)
    assert {task.value: counts.f1 for task, counts in result.tasks.items()} == {"RE": 0.0, "EAE": pytest.approx(2 / 3)}


def test_json_answers_are_scored_like_linear_ones():
    example = ner((0, 5, "country"), (19, 24, "location"))
    answer = '{"entities": [{"type": "country", "text": "China"}, {"type": "location", "text": "Nowhere"}]}'
    as_json = score([example], [found(example, answer)])
    as_line = score([example], [found(example, "country: China; location: Nowhere")])
    assert (as_json.tp, as_json.fn, as_json.fp) == (as_line.tp, as_line.fn, as_line.fp) == (1, 1, 0)


def test_an_extraction_without_an_answer_is_scored_by_its_annotations():
    example = ner((0, 5, "country"))
    without = found(example, "country: China; location: Paris").model_copy(update={"answer": ""})
    assert score([example], [without]) == score([example], [found(example, "country: China; location: Paris")])


def test_a_label_with_a_comma_is_one_label():
    example = ner((0, 5, "a, b"))
    result = score([example], [found(example, "a, b: China")])
    assert result.f1 == 1
    assert dict(result.labels) == {"a, b": Counts(1, 0, 0)}


def test_data_sets_are_counted_apart():
    examples = [ner((0, 5, "country"), dataset="one"), ner((0, 5, "country"), dataset="two")]
    result = score(examples, [found(examples[0], "country: China"), found(examples[1], "None")])
    assert {name: counts.f1 for name, counts in result.datasets.items()} == {"one": 1.0, "two": 0.0}
    assert result.f1 == pytest.approx(2 / 3)


@pytest.mark.parametrize("mode", ["paper", "span"])
def test_gold_answers_of_real_rows_score_one(read_rows, mode):
    examples = read_rows("NER/mit-movie", "train", 100) + read_rows("RE/conll04", "train", 50)
    extractions = [found(example, prompts.render_answer(example)) for example in examples]
    result = score(examples, extractions, mode=mode)
    assert result.fp == result.fn == 0 if mode == "paper" else result.f1 > 0.98
    assert sum((counts for counts in result.labels.values()), Counts()) == Counts(result.tp, result.fn, result.fp)


def test_what_does_not_belong_together_is_an_error():
    example = ner()
    with pytest.raises(ValueError, match="1 examples and 0 extractions"):
        score([example], [])
    with pytest.raises(ValueError, match="example 0 and extraction 0"):
        score([example], [found(ner(text="Another text."), "None")])
    with pytest.raises(ValueError, match="'paper' and 'span'"):
        score([example], [found(example, "None")], mode="exact")


@given(st.text(), st.text())
def test_any_answer_is_scored(gold, generated):
    result = score_answers("ED", prompts.render_query(ner().query), gold, generated)
    assert result.tp + result.fn == len(set(result.truth)) == len(result.truth)
    assert result.tp + result.fp == len(set(result.predicted)) == len(result.predicted)


@given(st.text())
def test_normalised_text_has_no_spaces_to_collapse(text):
    assert "  " not in normalise(text)
    assert normalise(text) == normalise(f"\t{text}\n")
