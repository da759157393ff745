"""Which part of a model's message is the answer: no thoughts, role headers, echoes of the prompt or further blocks."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator

from ruie_components.prompts import TASK_NAMES

_NAMES = r"think|thinking|thoughts?|reasoning|reasoning_process|reflection|scratchpad|analysis|inner_monologue"
_OPENS = rf"[<\[\u25c1](?:seed:)?(?:\|?begin_of_|\|?start_)?(?P<name>{_NAMES})\|?[>\]\u25b7]|<\|channel>\s*thought\b"
_CLOSES = rf"[<\[\u25c1]/(?:seed:)?(?:{_NAMES})[>\]\u25b7]|<\|?(?:end_of_|end_)(?:{_NAMES})\|?>|<channel\|>"
_OPEN_THOUGHT, _CLOSE_THOUGHT = re.compile(_OPENS, re.IGNORECASE), re.compile(_CLOSES, re.IGNORECASE)

_MARKER = re.compile(
    r"<[|\uff5c][A-Za-z_\u2581\d]{1,40}[|\uff5c]>"  # ChatML, Llama, harmony, Phi, DeepSeek, Command
    r"|</?s>|<(?:bos|eos|pad|unk)>|\[/?INST\]|<</?SYS>>"  # Llama 2, Mistral
    r"|<(?:start|end)_of_turn>|<\|?turn\|?>"  # Gemma
)
_HEADERS = {"start", "start_header_id", "im_start", "start_of_turn", "turn", "channel"}
"""Names of markers behind which a role or a channel stands."""
_HIDDEN_CHANNELS = {"analysis", "thought", "thinking"}
_USER_ROLES = {"user", "system", "human", "tool", "developer"}
_ROLES = _USER_ROLES | {"assistant", "model", "ai", "bot", "chatbot", "gpt"}
_TURN_ENDS = {"end", "eot_id", "eom_id", "im_end", "end_of_turn", "return", "endoftext", "eos", "s"}

_TASKS = "|".join(map(re.escape, TASK_NAMES.values()))
_BLOCK = re.compile(
    rf"Task:[ \t]{{0,9}}(?:{_TASKS})"
    r'|^[ \t*#]{0,9}(?:Schema:[ \t]{0,9}(?:\[|Given event trigger)|Input:[ \t]{0,9}["\u201c])',
    re.IGNORECASE | re.MULTILINE,
)
_OUTPUT = re.compile(r"^[ \t*#]{0,9}Output:", re.IGNORECASE | re.MULTILINE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8}\d?);", re.IGNORECASE)


def answer_part(message: str, text: str, has_items: Callable[[str], bool]) -> str:
    """The part of a message that answers the query.

    Removed are the thoughts of reasoning models, the role headers, channels and end markers of chat templates, and
    everything from another block (``Task:``, ``Schema:``, ``Input:``) on. A block before the first item is an echo of
    the prompt: the answer then follows its ``Output:``. HTML entities become characters.

    Args:
        message: What the model wrote.
        text: The query's text: what it holds is no marker.
        has_items: Whether a part of a message holds an item or says ``None``.
    """
    answer = _without_entities(_without_headers(_without_thoughts(message, text), text), text)
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


def _without_entities(answer: str, text: str) -> str:
    """The answer with HTML entities as characters, except those that the text itself holds."""
    if "&" not in answer:
        return answer
    return _ENTITY.sub(lambda entity: entity[0] if entity[0] in text else html.unescape(entity[0]), answer)


def _markers(pattern: re.Pattern[str], message: str, text: str) -> Iterator[re.Match[str]]:
    known: dict[str, bool] = {}
    for marker in pattern.finditer(message):
        if marker[0] not in known:
            known[marker[0]] = marker[0] not in text
        if known[marker[0]]:
            yield marker


def _without_thoughts(message: str, text: str) -> str:
    """The message without blocks of thought; without an opening tag the thoughts reach back to the start.

    Where the text itself holds a tag, only a thought that opens the message counts, up to the first closing tag.
    """
    opening = _OPEN_THOUGHT.match(message, len(message) - len(message.lstrip()))
    if opening and _CLOSE_THOUGHT.search(text):
        closing = _CLOSE_THOUGHT.search(message, opening.end())
        return message[closing.end() :] if closing else ""
    kept: list[str] = []
    at, depth = 0, 0
    tags = [(tag.start(), tag.end(), True) for tag in _markers(_OPEN_THOUGHT, message, text)]
    tags += [(tag.start(), tag.end(), False) for tag in _markers(_CLOSE_THOUGHT, message, text)]
    for start, end, opens in sorted(tags):
        if opens:
            if depth == 0:
                kept.append(message[at:start])
            depth += 1
        else:
            if depth == 0:
                kept.clear()  # the template of the model opened the thought
            depth = 0  # a tag that a thought quotes opens nothing
            at = end
    if depth == 0:
        kept.append(message[at:])
    return "\n".join(part for part in kept if part.strip()) if tags else message


def _without_headers(message: str, text: str) -> str:
    """What the assistant says in its final channel, up to the end of its turn."""
    markers = list(_markers(_MARKER, message, text))
    if not markers:
        return message
    parts: list[tuple[str, str]] = []  # channel and content
    role = channel = ""
    header: str | None = None
    at = 0
    for marker in [*markers, None]:
        content = message[at : marker.start() if marker else len(message)]
        if header == "channel":
            channel, content = content.split()[0] if content.split() else "", ""
        elif header is not None:
            first, _, rest = content.lstrip(" ").partition("\n")
            if first.strip().lower() in _ROLES:
                role, content = first.strip().lower(), rest
        if content.strip() and role not in _USER_ROLES:
            parts.append((channel, content))
        if marker is None:
            break
        name = marker[0].strip("<>|[]/\uff5c").lower()
        header = name if name in _HEADERS and marker[0] != "<turn|>" else None
        if (header and header != "channel") or name in _TURN_ENDS or marker[0] in ("<turn|>", "[/INST]"):
            role = channel = ""
        elif name in _ROLES:
            role = name
        elif name == "inst":
            role = "user"
        at = marker.end()
    final = [content for channel, content in parts if channel == "final"]
    shown = [content for channel, content in parts if channel not in _HIDDEN_CHANNELS]
    return next(iter(final or shown), "")
