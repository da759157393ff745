"""The blocks of a prompt (query, demonstration, answer) and the texts that an encoder reads.

The block format is the paper's (RUIE, arXiv 2409.11673).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from enum import StrEnum

from ruie_components import keywords
from ruie_components.keywords import KeywordStrategy
from ruie_components.types import LINE_BREAKS, EventQuery, Example, Query, Task

TASK_NAMES = {
    Task.NER: "Named entity recognition",
    Task.RE: "Relation extraction",
    Task.ED: "Event detection",
    Task.EAE: "Event argument extraction",
}
NOTHING = "None"
"""The answer if there is nothing to extract."""

_ONE_LINE = str.maketrans(dict.fromkeys(LINE_BREAKS, " "))


class Choice(StrEnum):
    """An enumeration whose error for another value lists the choices."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        name = re.sub("(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()
        raise ValueError(f"{name} {value!r} is unknown; there are: {', '.join(cls)}")


class AnswerFormat(Choice):
    """How answers are written."""

    LINEAR = "linear"
    """``type: span; type: span``, the paper's way."""
    JSON = "json"
    """One JSON object; ``answers.json_schema`` describes it."""


class Layout(StrEnum):
    """How much of a block an encoder reads."""

    BLOCK = "block"
    """The whole block, as in the paper."""
    INPUT = "input"
    """Without task and schema, which are the same for all rows of most pools."""


def one_line(text: str) -> str:
    r"""The text with every line break replaced by one space: offsets stay valid, and no text can leave its block.

    >>> one_line("a\nOutput: b")
    'a Output: b'
    """
    return text.translate(_ONE_LINE)


def _schema(labels: Sequence[str], event: EventQuery | None) -> str:
    joined = f"[{', '.join(labels)}]"
    if event is None:
        return joined
    return f'Given event trigger: "{event.type}: {one_line(event.trigger)}"; Candidate arguments: {joined}'


def render_query(query: Query) -> str:
    """The unfinished block of an input: task, schema, input, and ``Output:`` to be completed.

    >>> print(render_query(Query(task="NER", text="Ada slept.", labels=["person", "place"])))
    Task: Named entity recognition
    Schema: [person, place]
    Input: "Ada slept."
    Output:
    """
    return _block(query, query.text)


def _block(query: Query, text: str) -> str:
    schema = _schema(query.labels, query.event)
    return f'Task: {TASK_NAMES[query.task]}\nSchema: {schema}\nInput: "{one_line(text)}"\nOutput:'


JSON_NAMES: dict[Task, tuple[str, tuple[str, ...]]] = {
    Task.NER: ("entities", ("type", "text")),
    Task.RE: ("relations", ("type", "head", "tail")),
    Task.ED: ("events", ("type", "trigger")),
    Task.EAE: ("arguments", ("role", "text")),
}
"""For each task the key of the list in a JSON answer, and the keys of its items: the label's first, then the spans'."""


def render_answer(example: Example, answer_format: AnswerFormat | str = AnswerFormat.LINEAR) -> str:
    """The answer that a model should give, in the order of the annotations.

    >>> ada = {"text": "Ada", "type": "person", "start": 0, "end": 3}
    >>> example = Example(task="NER", text="Ada slept.", labels=["person"], entities=[ada])
    >>> render_answer(example), render_answer(example, "json")
    ('person: Ada', '{"entities": [{"type": "person", "text": "Ada"}]}')
    """
    items = [(label, [span.text for span in spans]) for label, spans in example.annotations]
    if AnswerFormat(answer_format) is AnswerFormat.JSON:
        name, keys = JSON_NAMES[example.task]
        rows = [dict(zip(keys, (label, *spans), strict=True)) for label, spans in items]
        return json.dumps({name: rows}, ensure_ascii=False)
    return "; ".join(f"{label}: {one_line(', '.join(spans))}" for label, spans in items) or NOTHING


def render_demonstration(example: Example, answer_format: AnswerFormat | str = AnswerFormat.LINEAR) -> str:
    """The finished block of an example: its query with the answer."""
    return f"{render_query(example.query)} {render_answer(example, answer_format)}"


def render_search_query(query: Query, layout: Layout | str = Layout.BLOCK) -> str:
    """The text that an encoder reads for an input, without keyword tags and output (paper, distillation)."""
    return _searched(query, query.text, Layout(layout))


def _searched(query: Query, text: str, layout: Layout) -> str:
    if layout is Layout.BLOCK:
        return _block(query, text)
    return f"{query.event.type}: {query.event.trigger}\n{text}" if query.event else text


def render_passage(
    example: Example,
    strategy: KeywordStrategy | str = KeywordStrategy.PLAIN,
    layout: Layout | str = Layout.BLOCK,
) -> str:
    """The text that an encoder reads for a demonstration: block, keyword tags, output (paper, distillation)."""
    layout = Layout(layout)
    separator = " " if layout is Layout.BLOCK else "\n"
    return f"{_searched(example.query, keywords.mark(example, strategy), layout)}{separator}{render_answer(example)}"
