"""Cleans a model's message: removes reasoning, role headers, echoes and further blocks around the answer.

It keeps offsets: everything but the answer is overwritten with white space of the same length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ruie_components.prompts import TASK_NAMES

_REASONING = (
    r"(?:ant|seed:|inner_?|x)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|analysis|monologue|scratch_?pad"
    r"|thought_process|chain_of_thought|cot|plan(?:ning)?|draft|brainstorm(?:ing)?)"
)
_BAR, _GAP = "[|\uff5c]", "[\u2581_ ]"
_ASSISTANT = r"assistant|model|ai|bot|gpt|chatbot|final"
_OTHER_ROLE = r"user|human|system|tool|developer|ipython|function|observation|environment|context"
_ROLE = rf"(?P<role>{_ASSISTANT}|{_OTHER_ROLE})"

# One marker of a chat template or of reasoning. The names of the groups say what follows the marker.
_MARKER = re.compile(
    rf"""
    (?P<think><{_REASONING}(?:\s[^<>\n]{{0,80}})?>|\[{_REASONING}\]|<\|(?:begin|start)_of_(?:thought|thinking)\|>
        |\u25c1think\u25b7|<\|channel>(?:thought|analysis)|<\|{_REASONING}\|>|<\|START_THINKING\|>)
    |(?P<unthink></{_REASONING}>|\[/{_REASONING}\]|<\|end_of_(?:thought|thinking)\|>|\u25c1/think\u25b7|<channel\|>
        |<\|/{_REASONING}\|>|<\|END_THINKING\|>)
    |(?:<\|start\|>(?P<starts>[\w.]{{1,40}})[^<\n]{{0,80}})?<\|channel\|>(?P<channel>[\w]{{1,30}})[^<\n]{{0,80}}
        (?:<\|constrain\|>[^<\n]{{0,40}})?<\|message\|>
    |<\|start\|>(?P<started>[\w.]{{1,40}})[^<\n]{{0,80}}(?:<\|message\|>)?
    |<\|(?:start_header_id|header_start|start_of_role)\|>\s*(?P<header>\w{{1,30}})[^<\n]{{0,80}}
        <\|(?:end_header_id|header_end|end_of_role)\|>
    |(?:<\|im_start\|>|<start_of_turn>|<\|turn>)[ ]?(?P<turn>\w{{1,30}})(?:[ ]*\n|<\|im_sep\|>|(?=<)|[ ]*$|:)
    |[<\[]{_BAR}{_ROLE}{_BAR}[>\]]
    |<\|(?P<command>CHATBOT|USER|SYSTEM)_TOKEN\|>
    |(?P<answer><\|(?:begin|start)_of_solution\|>|<\|START_(?:RESPONSE|TEXT)\|>)
    |(?P<ask>\[INST\]|<<SYS>>|\[SYSTEM_PROMPT\])
    |(?P<reply>\[/INST\]|<</SYS>>|\[/SYSTEM_PROMPT\])
    |(?P<end><{_BAR}[A-Za-z](?:\w|{_GAP}|/){{0,40}}{_BAR}>|</?s>|<(?:eos|bos|pad|unk)>|\[\|endofturn\|\]|</?assistant>|<end_of_turn>|<turn\|>
        |<start_of_turn>|\[(?:TOOL_CALLS|/?TOOL_RESULTS)\])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MOST_DISTINCT_MARKERS = 100  # markers that are looked up in the text; chat templates have a dozen
_MARKER_BEGINS = re.compile(r"[<\[\u25c1]")
_STRIPPED_HARMONY = re.compile(r"\s*analysis(?=[A-Z\"'])(?:.*?assistantfinal|.*)", re.DOTALL)
_STRIPPED_ROLE = re.compile(r"\s*(?:assistant|model)[ \t]*\n")
_ANSWER_TAG = re.compile(
    r"<(/?)(answer|final_?answer|output|result|response|solution|json|extraction|final|tool_call|function_call)>",
    re.IGNORECASE,
)
_TASKS = "|".join(map(re.escape, TASK_NAMES.values()))
_BLOCK = re.compile(
    rf"Task:[ \t]{{0,9}}(?:{_TASKS})"
    r'|^[ \t*#]{0,9}(?:Schema:[ \t]{0,9}(?:\[|Given event trigger)|Input:[ \t]{0,9}["\u201c])',
    re.IGNORECASE | re.MULTILINE,
)
_OUTPUT = re.compile(r"^[ \t*#]{0,9}Output:", re.IGNORECASE | re.MULTILINE)


class CleanAnswer(NamedTuple):
    """A message's answer at the message's offsets, and the texts around the tag that marks the answer."""

    answer: str
    beside: tuple[str, ...] = ()


def clean(message: str, text: str, has_items: Callable[[str], bool]) -> CleanAnswer:
    """Overwrite everything in a model's message except the answer with white space.

    Overwritten are reasoning blocks (``<think>``, ``[THINK]``, harmony's analysis channel and their like), the role
    headers and end markers of chat templates with the turns of other roles, tags such as ``<answer>``, and everything
    from another block (``Task:``, ``Schema:``, ``Input:``) on. A block before the first item is an echo of the
    prompt: the answer then follows its ``Output:``.

    Args:
        message: The model's message.
        text: The query's text; a marker that occurs in it is not treated as a marker.
        has_items: Whether a part of a message holds an item or says ``None``.

    Returns:
        Strings of the message's length, in which the answer keeps its offsets.
    """
    answer, *beside = _without_tags(_without_markers(message, text, has_items), text)
    return CleanAnswer(_without_blocks(answer, has_items), tuple(beside))


def _blank(text: str) -> str:
    """White space as long as a text; it begins with a line break, so that its neighbours are not joined."""
    return "\n" + " " * (len(text) - 1) if text else ""


def _keep(text: str, ranges: list[tuple[int, int]]) -> str:
    parts, at = [], 0
    for start, end in ranges:
        if start < end:
            parts += [_blank(text[at:start]), text[start:end]]
            at = end
    return "".join([*parts, _blank(text[at:])])


class _Turns:
    """Extracts the assistant's turns from a message, without reasoning and the turns of other roles."""

    def __init__(self) -> None:
        self.turns: list[list[tuple[int, int]]] = [[]]
        self._thinking: bool = False
        self._role = "assistant"

    def text(self, start: int, end: int) -> None:
        if start < end and not self._thinking and self._role == "assistant":
            self.turns[-1].append((start, end))

    def marker(self, match: re.Match[str]) -> None:
        group = match.groupdict()
        if group["think"]:
            self._thinking = True
        elif group["unthink"]:
            if not self._thinking:  # the chat template began the reasoning
                self.turns[-1] = []
            self._thinking = False
        elif self._thinking and group["end"]:
            return
        elif group["answer"] or group["reply"]:
            self._turn("assistant")
        elif group["ask"]:
            self._turn("user")
        elif channel := group["channel"]:
            self._turn("assistant" if channel.lower() == "final" else "reasoning")
        elif group["end"]:
            self._turn(self._role)
        else:
            role = group["starts"] or group["started"] or group["header"] or group["turn"] or group["role"]
            role = role or ("assistant" if (group["command"] or "").upper() == "CHATBOT" else "user")
            self._turn("assistant" if re.fullmatch(_ASSISTANT, role, re.IGNORECASE) else "other")

    def _turn(self, role: str) -> None:
        self._role, self._thinking = role, False
        self.turns.append([])


def _markers(message: str, text: str) -> Iterator[re.Match[str]]:
    """The markers of a message. A marker that occurs in the text counts only around reasoning at the very start."""
    begun: str | None = None
    first = len(message) - len(message.lstrip())
    quoted: dict[str, bool] = {}
    at = 0
    while begin := _MARKER_BEGINS.search(message, at):
        match = _MARKER.match(message, begin.start())
        at = match.end() if match else begin.end()
        if match is None:
            continue
        if match["think"] and match.start() == first:
            begun = match["think"]
        elif not (match["unthink"] and begun) and _is_quoted(match[0], text, quoted):
            continue
        if match["unthink"]:
            begun = None
        yield match


def _is_quoted(marker: str, text: str, known: dict[str, bool]) -> bool:
    if marker not in known and len(known) < _MOST_DISTINCT_MARKERS:
        known[marker] = marker in text
    return known.get(marker, False)


def _without_markers(message: str, text: str, has_items: Callable[[str], bool]) -> str:
    for stripped in (_STRIPPED_HARMONY, _STRIPPED_ROLE):
        if (match := stripped.match(message)) and match[0].strip() not in text:
            message = _blank(match[0]) + message[match.end() :]
    if _MARKER_BEGINS.search(message) is None:
        return message
    turns, at = _Turns(), 0
    for marker in _markers(message, text):
        turns.text(at, marker.start())
        turns.marker(marker)
        at = marker.end()
    if at == 0:
        return message
    turns.text(at, len(message))
    said = [turn for turn in turns.turns if any(message[start:end].strip() for start, end in turn)]
    if not said:
        return _blank(message)
    for turn in said[:4] if len(said) > 1 else []:
        answer = _keep(message, turn)
        if has_items(answer):
            return answer
    return _keep(message, said[0])


def _without_tags(answer: str, text: str) -> tuple[str, ...]:
    """The answer without tags such as ``<answer>``; then the parts before and after the tags, if any."""
    if "<" not in answer:
        return (answer,)
    quoted = {tag: tag in text for tag in {tag[0] for tag in _ANSWER_TAG.finditer(answer)}}
    tags = [tag for tag in _ANSWER_TAG.finditer(answer) if not quoted[tag[0]]]
    if not tags:
        return (answer,)
    opened = [tag for tag in tags if not tag[1] and "call" not in tag[2].lower()]
    start = opened[-1].end() if opened else 0
    if opened and not answer[start:].replace(f"</{opened[-1][2]}>", "").strip() and len(opened) > 1:
        start = opened[0].end()
    ranges, at = [], start
    for tag in tags:
        if tag.start() >= start:
            ranges.append((at, tag.start()))
            at = tag.end()
            if tag[1] and opened and tag[2].lower() == opened[-1][2].lower():
                break
    else:
        ranges.append((at, len(answer)))
        at = len(answer)
    outside = [(0, start), (at, len(answer))] if opened else []
    return _keep(answer, ranges), *(_keep(answer, [part]) for part in outside if answer[slice(*part)].strip())


def _without_blocks(answer: str, has_items: Callable[[str], bool]) -> str:
    start = 0
    for _ in range(2):
        block = _BLOCK.search(answer, start)
        if block is None:
            return _keep(answer, [(start, len(answer))])
        if has_items(answer[start : block.start()]):
            return _keep(answer, [(start, block.start())])
        output = _OUTPUT.search(answer, block.end())
        start = output.end() if output else len(answer)
    block = _BLOCK.search(answer, start)
    return _keep(answer, [(start, block.start() if block else len(answer))])
