"""The whole prompt (instruction, demonstrations, query), fitted to a token budget.

The instructions are the text files in ``instructions/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from ruie_components.errors import PromptTooLongError
from ruie_components.integers import counted
from ruie_components.prompts.blocks import (
    AnswerFormat,
    Choice,
    one_line,
    render_answer,
    render_demonstration,
    render_query,
)
from ruie_components.types import Demonstration, Query, Task

Message = tuple[Literal["system", "human", "ai"], str]
"""A chat message as ``(role, content)``, which LangChain's chat models take as it is."""


class Order(Choice):
    """Where the most similar demonstration is shown."""

    SIMILAR_LAST = "similar-last"
    """Next to the input, as in the paper."""
    SIMILAR_FIRST = "similar-first"
    """Farthest from the input."""


TokenCounter = Callable[[str], int]


@cache
def default_instruction(task: Task | str, answer_format: AnswerFormat | str = AnswerFormat.LINEAR) -> str:
    """The instruction that opens a prompt, read from ``instructions/TASK.txt`` (``TASK.json.txt`` for JSON answers)."""
    suffix = ".json.txt" if AnswerFormat(answer_format) is AnswerFormat.JSON else ".txt"
    return files("ruie_components.prompts").joinpath("instructions", f"{Task(task)}{suffix}").read_text("utf-8").strip()


def estimate_tokens(text: str) -> int:
    """A rough estimate of a text's tokens, without a tokenizer: one per 3.5 ASCII characters or other character.

    It is rather too high than too low. Pass the real tokenizer's count if the budget is tight.

    >>> estimate_tokens("seven words make about eleven tokens here")
    12
    """
    ascii_characters = len(text.encode("ascii", "ignore"))
    return -(-ascii_characters * 2 // 7) + len(text) - ascii_characters


@dataclass(frozen=True)
class Prompt:
    """A whole prompt: instruction, demonstrations in their order, and the query's block."""

    instruction: str
    demonstrations: tuple[Demonstration, ...]
    """In the order shown: the fixed ones first; of the others, by default, the most similar one last."""
    query: Query
    answer_format: AnswerFormat
    tokens: int
    """By the given counter, else by ``estimate_tokens``."""
    dropped: int = 0
    """How many of the least similar demonstrations did not fit the budget."""
    order: Order = Order.SIMILAR_LAST
    fixed: int = 0
    """How many of the demonstrations, at the beginning, were not chosen for the query."""

    def __post_init__(self) -> None:
        # some serializers (LangGraph's checkpoints) return tuples as lists, which would compare unequal
        object.__setattr__(self, "demonstrations", tuple(self.demonstrations))

    def __repr__(self) -> str:
        shown = counted(len(self.demonstrations), "demonstration")
        return f"Prompt({self.query.task}, {shown}, about {self.tokens:,} tokens)"

    @property
    def best_first(self) -> tuple[Demonstration, ...]:
        """The demonstrations, best first, as a search returns them, then the fixed ones."""
        fixed, chosen = self.demonstrations[: self.fixed], self.demonstrations[self.fixed :]
        return (chosen[::-1] if self.order is Order.SIMILAR_LAST else chosen) + fixed

    @property
    def text(self) -> str:
        """The prompt as one string, with blank lines between blocks, as in the paper."""
        blocks = [render_demonstration(each.example, self.answer_format) for each in self.demonstrations]
        return "\n\n".join([self.instruction, *blocks, render_query(self.query)])

    @property
    def messages(self) -> list[Message]:
        """The prompt as chat messages: each demonstration is a question and the model's answer to it."""
        messages: list[Message] = [("system", self.instruction)]
        for demonstration in self.demonstrations:
            messages.append(("human", render_query(demonstration.example.query)))
            messages.append(("ai", render_answer(demonstration.example, self.answer_format)))
        return [*messages, ("human", render_query(self.query))]


MESSAGE_OVERHEAD = 5
"""The most tokens that common chat templates add around a message."""


def build_prompt(
    query: Query,
    demonstrations: Sequence[Demonstration] = (),
    *,
    answer_format: AnswerFormat | str = AnswerFormat.LINEAR,
    max_tokens: int | None = None,
    count_tokens: TokenCounter = estimate_tokens,
    instruction: str | None = None,
    order: Order | str = Order.SIMILAR_LAST,
    descriptions: Mapping[str, str] | None = None,
    fixed: Sequence[Demonstration] = (),
) -> Prompt:
    """Write the prompt for a query.

    Args:
        query: What to extract from which text.
        demonstrations: Best first, as a search returns them.
        answer_format: How the answers are written.
        max_tokens: The budget of the whole prompt. The least similar demonstrations are dropped until it fits.
        count_tokens: Counts the tokens of a string.
        instruction: An instruction of your own instead of the task's.
        order: Where the best is shown: last, as in the paper, or first.
        descriptions: Descriptions of labels. Those of the query's labels follow the instruction, as many as fit the
            budget; they take precedence over demonstrations.
        fixed: Demonstrations that come first in every prompt, in this order, as many as fit the budget.

    Returns:
        The prompt, with its size and how many demonstrations were dropped.

    Raises:
        PromptTooLongError: Instruction and input alone are over the budget.
    """
    answer_format = AnswerFormat(answer_format)
    opening = default_instruction(query.task, answer_format) if instruction is None else instruction
    needed = count_tokens(render_query(query)) + 2 * MESSAGE_OVERHEAD
    if descriptions:
        room = None if max_tokens is None else max_tokens - needed
        opening = _described(opening, query, descriptions, room, count_tokens)
    tokens = count_tokens(opening) + needed
    if max_tokens is not None and tokens > max_tokens:
        without_text = tokens - count_tokens(query.text)
        if without_text >= max_tokens:  # a smaller text would not help
            raise PromptTooLongError(
                f"the instruction and the labels alone take about {without_text:,} tokens, and the budget is "
                f"{max_tokens:,}: raise --max-tokens (max_tokens=), or ask for fewer labels."
            )
        raise PromptTooLongError(
            f"the instruction and the input alone take about {tokens:,} tokens, and the budget is {max_tokens:,}. "
            f"The input has {counted(len(query.text), 'character')}: split it into smaller texts, or raise "
            f"--max-tokens (max_tokens=)."
        )
    kept: list[Demonstration] = []
    for demonstration in (*fixed, *demonstrations):
        size = count_tokens(render_demonstration(demonstration.example, answer_format)) + 2 * MESSAGE_OVERHEAD
        if max_tokens is not None and tokens + size > max_tokens:
            break  # a shorter but less similar one must not take precedence
        tokens += size
        kept.append(demonstration)
    order = Order(order)
    first = min(len(fixed), len(kept))
    chosen = kept[first:]
    shown = (*kept[:first], *(reversed(chosen) if order is Order.SIMILAR_LAST else chosen))
    dropped = len(fixed) + len(demonstrations) - len(kept)
    return Prompt(opening, shown, query, answer_format, tokens, dropped, order, first)


def _described(
    opening: str, query: Query, descriptions: Mapping[str, str], room: int | None, count_tokens: TokenCounter
) -> str:
    """The instruction with descriptions of the query's labels, as many as fit."""
    lines = [f"- {label}: {one_line(descriptions[label])}" for label in query.labels if descriptions.get(label)]
    while lines:
        described = "\n".join([f"{opening}\n\nWhat the labels mean:", *lines])
        if room is None or count_tokens(described) <= room:
            return described
        lines.pop()
    return opening
