import re
from dataclasses import replace

from ruie_components import Demonstration, Example, Extraction, Query, report
from ruie_components.extraction import ExtractionResult, Usage
from ruie_components.prompts import build_prompt


def outcome(text: str = "<b>Ada</b> knows Bob.", error: str | None = None) -> ExtractionResult:
    ada, bob = ({"text": name, "start": text.index(name), "end": text.index(name) + 3} for name in ("Ada", "Bob"))
    relation = {"type": "knows", "head": ada, "tail": bob}
    shown = Example(task="RE", text=text, labels=["knows"], relations=[relation])
    prompt = build_prompt(Query(task="RE", text=text, labels=["knows"]), [Demonstration(example=shown, score=0.5)])
    found = Extraction(task="RE", text=text, labels=["knows"], relations=[] if error else [relation], answer="<i>")
    return ExtractionResult(found, prompt, Usage(seconds=1.25, demonstrations=1), error)


def test_the_page_is_self_contained_and_escaped():
    page = report.render([outcome()], title="a & b")
    assert "<title>a &amp; b</title>" in page
    assert not re.search(r"(src|href|@import|url\()", page)
    assert "<b>" not in page
    assert "<i>" not in page
    assert page.count("<section>") == 1


def test_a_relation_is_one_row_with_both_offsets():
    page = report.render([outcome()])
    assert "<td>Ada → Bob</td>" in page
    assert "3-6, 17-20" in page
    assert "1.25 s" in page


def test_a_label_has_one_colour_in_a_section():
    page = report.render([outcome()])
    assert len(set(re.findall(r'background: (#\w{6})"', page))) == 1


def test_a_cut_answer_is_told():
    cut = replace(outcome(), usage=Usage(cut=True))
    assert "the answer was cut" in report.render([cut])
    assert "the answer was cut" not in report.render([outcome()])


def test_a_failed_text_says_why(tmp_path):
    page = report.write(tmp_path / "page.html", [outcome(error="no <server>")]).read_text("utf-8")
    assert "no &lt;server&gt;" in page
    assert "Nothing was extracted" not in page
