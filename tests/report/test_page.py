import re
from dataclasses import replace

import pytest

from ruie_components import Demonstration, Example, Extraction, Query, Reason, report
from ruie_components.extraction import ExtractionResult, Usage
from ruie_components.prompts import build_prompt


def relation_of(text: str) -> dict:
    ada, bob = ({"text": name, "start": text.index(name), "end": text.index(name) + 3} for name in ("Ada", "Bob"))
    return {"type": "knows", "head": ada, "tail": bob}


def outcome(text: str = "<b>Ada</b> knows Bob.", error: str | None = None) -> ExtractionResult:
    relation = relation_of(text)
    shown = Example(task="RE", text=text, labels=["knows"], relations=[relation])
    prompt = build_prompt(Query(task="RE", text=text, labels=["knows"]), [Demonstration(example=shown, score=0.5)])
    found = Extraction(task="RE", text=text, labels=["knows"], relations=[] if error else [relation], answer="<i>")
    return ExtractionResult(found, prompt, Usage(seconds=1.25, demonstrations=1), error)


def ner(text: str, **spans: str) -> dict:
    entities = [
        {"type": label, "text": span, "start": text.index(span), "end": text.index(span) + len(span)}
        for label, span in spans.items()
    ]
    return {"task": "NER", "text": text, "labels": ["person", "city"], "entities": entities}


def test_the_page_is_self_contained_and_escaped():
    page = report.render([outcome()], title="a & b")
    assert "<title>a &amp; b</title>" in page
    assert not re.search(r'(src=|href="[^#]|@import|url\()', page)
    assert "<b>A" not in page
    assert "<i>" not in page
    assert page.count("<article ") == 1


def test_the_policy_allows_the_page_s_own_style_and_script_alone():
    page = report.render([outcome()])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "default-src &#x27;none&#x27;" in policy
    assert policy.count("sha256-") == 2
    assert "unsafe" not in policy
    assert 'style="' not in page  # a style attribute would be blocked


def test_a_relation_is_one_row_with_both_offsets_and_a_number_that_pairs_its_sides():
    page = report.render([outcome()])
    assert "<td>Ada → Bob</td>" in page
    assert "3-6, 17-20" in page
    assert 'data-head="1"' in page
    assert 'data-tail="1"' in page
    assert "1.25 s" in page


def test_a_label_has_one_colour_in_an_article():
    page = report.render([outcome()])
    assert set(re.findall(r'<mark class="(c\d+)', page)) == {"c0"}


def test_a_truncated_answer_is_named():
    truncated = replace(outcome(), usage=Usage(truncated=True))
    assert "the answer was truncated" in report.render([truncated])
    assert "the answer was truncated" not in report.render([outcome()])


def test_a_failed_text_says_why(tmp_path):
    page = report.write(tmp_path / "new" / "page.html", [outcome(error="no <server>")]).read_text("utf-8")
    assert "no &lt;server&gt;" in page
    assert "Nothing was extracted" not in page
    assert 'data-problems="failed"' in page


def test_the_problems_of_a_result_can_be_filtered():
    empty = ExtractionResult(Extraction(task="NER", text="Ada slept.", labels=["person"]), None, Usage())
    page = report.render([outcome(), empty])
    assert 'data-problems=""' in page
    assert 'data-problems="nothing-extracted"' in page
    assert '<option value="nothing-extracted">nothing extracted</option>' in page


@pytest.mark.parametrize(
    ("predicted", "kinds"),
    [
        ({"person": "Ada", "city": "Graz"}, ""),
        ({"person": "Ada"}, "missed"),
        ({"person": "Ada", "city": "Bob"}, "spurious missed"),
        ({"city": "Ada"}, "wrong-label missed"),
        ({}, "nothing-extracted missed"),
    ],
    ids=["equal", "missed", "spurious", "wrong label", "nothing"],
)
def test_gold_annotations_show_every_kind_of_difference(predicted, kinds):
    text = "Ada met Bob in Graz."
    gold = Example.model_validate(ner(text, person="Ada", city="Graz"))
    page = report.render([ExtractionResult(Extraction(**ner(text, **predicted)), None, Usage())], gold=[gold])
    assert f'data-problems="{kinds}"' in page
    assert ("Equal to the gold annotations." in page) == (not kinds)


def test_gold_of_other_texts_is_refused():
    gold = Example.model_validate(ner("Ada met Bob in Graz.", person="Ada"))
    with pytest.raises(ValueError, match="1 results and 2 gold examples"):
        report.render([outcome()], gold=[gold, gold])
    with pytest.raises(ValueError, match="not of the same text"):
        report.render([outcome()], gold=[gold])


def test_the_reason_of_a_choice_is_in_place_of_a_score_that_does_not_explain_it():
    assert ">0.500</td>" in report.render([outcome()])
    for method, is_shown in (("label-vote", True), ("similarity", False)):
        explained = outcome()
        (shown,) = explained.prompt.demonstrations
        shown = shown.model_copy(update={"reason": Reason(method=method, order=2, similarity=0.5, adds=("<knows>",))})
        page = report.render([replace(explained, prompt=replace(explained.prompt, demonstrations=(shown,)))])
        assert (f"{method}, choice 2: similarity 0.500, adds &lt;knows&gt;" in page) == is_shown
        assert (">0.500</td>" in page) != is_shown
        assert ("why it was chosen" in page) == is_shown
