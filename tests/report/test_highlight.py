from hypothesis import given
from hypothesis import strategies as st

from ruie_components import Example
from ruie_components.report.highlight import (
    PALETTE,
    Mark,
    css_classes,
    label_indices,
    marks_of,
    segments,
    to_html,
    to_terminal,
)


@st.composite
def marked_texts(draw):
    text = draw(st.text(min_size=1, max_size=40))
    ends = st.integers(0, len(text))
    spans = draw(st.lists(st.tuples(ends, ends).filter(lambda span: span[0] < span[1]), max_size=6))
    return text, [Mark(a, b, f"label{i}") for i, (a, b) in enumerate(spans)]


@given(marked_texts())
def test_segments_join_to_the_text_and_every_mark_ends_once(case):
    text, marks = case
    cut = segments(text, marks)
    assert "".join(segment.text for segment in cut) == text
    assert sorted(m.label for s in cut for m in s.ending) == sorted(m.label for m in marks)
    for mark in marks:
        assert "".join(s.text for s in cut if mark in s.marks) == text[mark.start : mark.end]


def test_html_is_escaped_and_names_labels():
    html = to_html("<b>Ada</b>", [Mark(3, 6, "a & b")])
    assert "&lt;b&gt;" in html
    assert ">Ada</mark>" in html
    assert "a &amp; b</small>" in html


def test_terminal_shows_labels_behind_nested_spans():
    text = to_terminal("Bank of Ada", [Mark(0, 11, "org"), Mark(8, 11, "person")])
    assert text.plain == "Bank of Ada[person][org]"


def test_both_ends_of_a_relation_share_a_colour():
    head, tail = {"text": "Ada", "start": 0, "end": 3}, {"text": "Bob", "start": 8, "end": 11}
    relation = {"type": "knows", "head": head, "tail": tail}
    marks = marks_of(Example(task="RE", text="Ada met Bob.", labels=["knows"], relations=[relation]))
    assert [mark.caption for mark in marks] == ["1 knows →", "→ 1 knows"]
    assert label_indices(mark.label for mark in marks) == {"knows": 0}


def test_labels_that_share_a_colour_differ_in_their_lines():
    assert len({css_classes(index) for index in range(3 * len(PALETTE))}) == 3 * len(PALETTE)


def test_a_nested_span_shows_where_it_starts():
    html = to_html("Bank of Ada", [Mark(0, 11, "org"), Mark(8, 11, "person")])
    assert html == (
        '<mark class="c0 solid starts">Bank of </mark>'
        '<span class="under d1 c0 solid"><mark class="c1 solid starts">Ada</mark></span>'
        '<small class="c1 solid">person</small><small class="c0 solid">org</small>'
    )


def test_the_work_grows_with_the_marks_and_not_with_their_square():
    compared = 0

    def counting(compare):
        def counted(one, other):
            nonlocal compared
            compared += 1
            return compare(one, other)

        return counted

    names = ("__lt__", "__le__", "__gt__", "__ge__")
    offset = type("Offset", (int,), {name: counting(getattr(int, name)) for name in names})
    marks = [Mark(offset(2 * i), offset(2 * i + 1), "x") for i in range(1000)]
    assert len(segments("a " * 1000, marks)) == 2000
    assert compared < 50_000
