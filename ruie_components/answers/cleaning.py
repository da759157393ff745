"""What of a model's message is the answer: without its thoughts, an echo of the prompt, or further blocks."""

from __future__ import annotations

import re
from collections.abc import Callable

from ruie_components.prompts import TASK_NAMES

_THOUGHT_BEGINS, _THOUGHT_ENDS = "<think>", "</think>"
_END_MARKERS = re.compile(r"<\|[A-Za-z_]{1,30}\|>|</s>|\[/?INST\]|<end_of_turn>")
_TASKS = "|".join(map(re.escape, TASK_NAMES.values()))
_BLOCK = re.compile(
    rf"Task:[ \t]{{0,9}}(?:{_TASKS})"
    r'|^[ \t*#]{0,9}(?:Schema:[ \t]{0,9}(?:\[|Given event trigger)|Input:[ \t]{0,9}["\u201c])',
    re.IGNORECASE | re.MULTILINE,
)
_OUTPUT = re.compile(r"^[ \t*#]{0,9}Output:", re.IGNORECASE | re.MULTILINE)


def answer_part(message: str, text: str, has_items: Callable[[str], bool]) -> str:
    """The part of a message that answers the query.

    Cut away are the thoughts of reasoning models (``<think>``), the end markers of chat templates, and everything
    from another block (``Task:``, ``Schema:``, ``Input:``) on. A block before the first item is an echo of the prompt:
    the answer then follows its ``Output:``.

    Args:
        message: What the model said.
        text: The query's text: what stands in it is no marker.
        has_items: Whether a piece of a message holds an item or says ``None``.
    """
    answer = _without_markers(_without_thoughts(message, text), text)
    for _ in range(2):
        block = _BLOCK.search(answer)
        if block is None:
            return answer
        if has_items(answer[: block.start()]):
            return answer[: block.start()]
        output = _OUTPUT.search(answer, block.end())
        answer = answer[output.end() :] if output else ""
    block = _BLOCK.search(answer)
    return answer[: block.start()] if block else answer


def _without_thoughts(message: str, text: str) -> str:
    begun = message.lstrip().startswith(_THOUGHT_BEGINS)
    quoted = _THOUGHT_ENDS in text
    if quoted and not begun:
        return message
    end = message.find(_THOUGHT_ENDS) if quoted else message.rfind(_THOUGHT_ENDS)
    if end >= 0:
        return message[end + len(_THOUGHT_ENDS) :]
    return "" if begun else message


def _without_markers(answer: str, text: str) -> str:
    at = 0
    while marker := _END_MARKERS.search(answer, at):
        if marker[0] in text:
            return answer
        if answer[at : marker.start()].strip():
            return answer[at : marker.start()]
        at = marker.end()
    return answer[at:]
