"""How a query, a demonstration, an answer and a whole prompt are written, and how a prompt is fitted to a budget.

The block format is the paper's (RUIE, arXiv 2409.11673); the instructions are the text files in ``instructions/``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Literal

from ruie_components import keywords
from ruie_components.errors import PromptTooLongError
from ruie_components.keywords import KeywordStrategy
from ruie_components.types import LINE_BREAKS, Demonstration, EventQuery, Example, Query, Task

TASK_NAMES = {
    Task.NER: "Named entity recognition",
    Task.RE: "Relation extraction",
    Task.ED: "Event detection",
    Task.EAE: "Event argument extraction",
}
NOTHING = "None"
"""The answer where there is nothing to extract."""

Message = tuple[Literal["system", "human", "ai"], str]
"""A chat message as ``(role, content)``, which LangChain's chat models take as it is."""

TokenCounter = Callable[[str], int]

_ONE_LINE = str.maketrans(dict.fromkeys(LINE_BREAKS, " "))


class AnswerForm(StrEnum):
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
    """Without the task and the schema, which are the same for all rows of most pools."""


def one_line(text: str) -> str:
    r"""The text with every line break replaced by one space, so that offsets stay and no text leaves its block.

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


def render_answer(example: Example, form: AnswerForm | str = AnswerForm.LINEAR) -> str:
    """The answer that a model should give, in the order of the annotations.

    >>> ada = {"text": "Ada", "type": "person", "start": 0, "end": 3}
    >>> example = Example(task="NER", text="Ada slept.", labels=["person"], entities=[ada])
    >>> render_answer(example), render_answer(example, "json")
    ('person: Ada', '{"entities": [{"type": "person", "text": "Ada"}]}')
    """
    items = [(label, [span.text for span in spans]) for label, spans in example.annotations]
    if AnswerForm(form) is AnswerForm.JSON:
        name, keys = JSON_NAMES[example.task]
        rows = [dict(zip(keys, (label, *spans), strict=True)) for label, spans in items]
        return json.dumps({name: rows}, ensure_ascii=False)
    return "; ".join(f"{label}: {one_line(', '.join(spans))}" for label, spans in items) or NOTHING


def render_demonstration(example: Example, form: AnswerForm | str = AnswerForm.LINEAR) -> str:
    """The finished block of an example: its query with the answer."""
    return f"{render_query(example.query)} {render_answer(example, form)}"


def render_search_query(query: Query, layout: Layout | str = Layout.BLOCK) -> str:
    """What an encoder reads of an input: no keyword tags and no output (paper, distillation)."""
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
    """What an encoder reads of a demonstration: the block with keyword tags and its output (paper, distillation)."""
    layout = Layout(layout)
    separator = " " if layout is Layout.BLOCK else "\n"
    return f"{_searched(example.query, keywords.mark(example, strategy), layout)}{separator}{render_answer(example)}"


@cache
def instruction(task: Task | str, form: AnswerForm | str = AnswerForm.LINEAR) -> str:
    """The instruction that opens a prompt, read from ``instructions/TASK.txt`` (``TASK.json.txt`` for JSON answers)."""
    suffix = ".json.txt" if AnswerForm(form) is AnswerForm.JSON else ".txt"
    return files("ruie_components").joinpath("instructions", f"{Task(task)}{suffix}").read_text("utf-8").strip()


def estimate_tokens(text: str) -> int:
    """A rough, tokenizer-free estimate of a text's tokens: a token for 3.5 ASCII characters, one for every other.

    It is meant to be too high rather than too low. Give the real tokenizer's count where the budget is tight.

    >>> estimate_tokens("seven words make about eleven tokens here")
    12
    """
    ascii_characters = len(text.encode("ascii", "ignore"))
    return -(-ascii_characters * 2 // 7) + len(text) - ascii_characters


@dataclass(frozen=True)
class Prompt:
    """A whole prompt: instruction, demonstrations with the most similar last, and the query's block."""

    instruction: str
    demonstrations: tuple[Demonstration, ...]
    """As shown: the most similar one last, next to the input."""
    query: Query
    form: AnswerForm
    tokens: int
    """By the given counter; by ``estimate_tokens`` where none was given."""
    dropped: int = 0
    """How many of the least similar demonstrations did not fit the budget."""

    @property
    def text(self) -> str:
        """The prompt as one string, blocks parted by blank lines: the paper's way."""
        shown = [render_demonstration(shown.example, self.form) for shown in self.demonstrations]
        return "\n\n".join([self.instruction, *shown, render_query(self.query)])

    @property
    def messages(self) -> list[Message]:
        """The prompt as chat messages: each demonstration is a question and the model's answer to it."""
        messages: list[Message] = [("system", self.instruction)]
        for shown in self.demonstrations:
            messages.append(("human", render_query(shown.example.query)))
            messages.append(("ai", render_answer(shown.example, self.form)))
        return [*messages, ("human", render_query(self.query))]


MESSAGE_OVERHEAD = 5
"""Tokens that a chat template adds around one message, at the most, in common templates."""


def build_prompt(
    query: Query,
    demonstrations: Sequence[Demonstration] = (),
    *,
    form: AnswerForm | str = AnswerForm.LINEAR,
    max_tokens: int | None = None,
    count_tokens: TokenCounter = estimate_tokens,
    opening: str | None = None,
) -> Prompt:
    """Write the prompt for a query.

    Args:
        query: What to extract from which text.
        demonstrations: Best first, as a search returns them; the prompt shows the best last.
        form: How the answers are written.
        max_tokens: The budget of the whole prompt. The least similar demonstrations are dropped until it fits.
        count_tokens: Counts the tokens of a string.
        opening: An instruction of your own instead of the task's.

    Returns:
        The prompt, with its size and how many demonstrations were dropped.

    Raises:
        PromptTooLongError: Instruction and input alone are over the budget.
    """
    form = AnswerForm(form)
    start = instruction(query.task, form) if opening is None else opening
    tokens = count_tokens(start) + count_tokens(render_query(query)) + 2 * MESSAGE_OVERHEAD
    if max_tokens is not None and tokens > max_tokens:
        raise PromptTooLongError(
            f"the instruction and the input alone take about {tokens:,} tokens, and the budget is {max_tokens:,}. "
            f"The input has {len(query.text):,} characters: split it into smaller texts or raise max_tokens."
        )
    kept: list[Demonstration] = []
    for demonstration in demonstrations:
        size = count_tokens(render_demonstration(demonstration.example, form)) + 2 * MESSAGE_OVERHEAD
        if max_tokens is not None and tokens + size > max_tokens:
            break  # a less similar one that happens to be short must not jump the queue
        tokens += size
        kept.append(demonstration)
    return Prompt(start, tuple(reversed(kept)), query, form, tokens, len(demonstrations) - len(kept))
