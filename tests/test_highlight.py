from hypothesis import given
from hypothesis import strategies as st

from ruie_components import Example
from ruie_components.highlight import Mark, colours, marks_of, segments, to_html, to_terminal


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
    assert [mark.label for mark in marks] == ["knows →", "→ knows"]
    assert list(colours(mark.label for mark in marks)) == ["knows"]


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
    marks = [Mark(offset(2 * place), offset(2 * place + 1), "x") for place in range(1000)]
    assert len(segments("a " * 1000, marks)) == 2000
    assert compared < 50_000
