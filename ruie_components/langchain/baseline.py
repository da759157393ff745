"""The offline floor: a chat model that only copies from the demonstrations in the prompt it is shown.

It stands in where no language model runs, so that the whole chain can be tried, and as the lowest line of a table:
what a model gains over it is what the model adds to the demonstrations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from typing_extensions import override

from ruie_components import answers, prompts
from ruie_components.langchain.copying import Seen, find
from ruie_components.prompts import AnswerFormat
from ruie_components.types import Argument, Entity, Event, EventQuery, Example, Extraction, Query, Relation, Span, Task

_BLOCK = re.compile(
    r"^Task: (?P<task>.+)\nSchema: (?P<schema>.+)\nInput: \"(?P<text>.*)\"\nOutput:[ \t]*(?P<answer>.*)$", re.MULTILINE
)
_EVENT = re.compile(r'Given event trigger: "(?P<type>.+?): (?P<trigger>.+)"; Candidate arguments: (?P<roles>\[.*\])')
_TASKS = {name: task for task, name in prompts.TASK_NAMES.items()}


class CopyBaseline(BaseChatModel):
    """A baseline, no language model: it copies what the demonstrations' answers hold and the input holds too.

    Its few rules are in ``copying.py``; all they know comes from the demonstrations in the messages. It reads the
    prompts of this package, as chat messages or as one string. Its token counts are estimates.
    """

    model: str = "copy-baseline"

    @property
    def _llm_type(self) -> str:
        return "ruie-copy-baseline"

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text = copy_answer(_transcript(messages))
        message = AIMessage(text, usage_metadata=_usage(messages, text), response_metadata={"model_name": self.model})
        return ChatResult(generations=[ChatGeneration(message=message)])

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        text = copy_answer(_transcript(messages))
        pieces = re.findall(r"\S+\s*", text)
        for piece in pieces:
            last = piece is pieces[-1]
            usage = _usage(messages, text) if last else None
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece, usage_metadata=usage))
            if run_manager:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


def _transcript(messages: Sequence[BaseMessage]) -> str:
    """The messages as one string in the paper's way: an answer stands behind the block it answers."""
    pieces: list[str] = []
    for message in messages:
        pieces += [" " if message.type == "ai" else "\n\n", str(message.text)]
    return "".join(pieces)


def _usage(messages: Sequence[BaseMessage], answer: str) -> UsageMetadata:
    shown = sum(prompts.estimate_tokens(str(message.text)) for message in messages)
    said = prompts.estimate_tokens(answer)
    return UsageMetadata(input_tokens=shown, output_tokens=said, total_tokens=shown + said)


def copy_answer(prompt: str) -> str:
    r"""Answer a prompt with nothing but what its demonstrations hold.

    Args:
        prompt: A whole prompt as one string, as ``Prompt.text`` writes it.

    Returns:
        An answer in the form of the demonstrations' answers; ``None`` where the prompt holds no block.

    >>> block = 'Task: Named entity recognition\nSchema: [person]\nInput: "{}"\nOutput:'
    >>> copy_answer(block.format("Ada slept.") + " person: Ada\n\n" + block.format("So Ada ran."))
    'person: Ada'
    """
    blocks = list(_BLOCK.finditer(prompt))
    asked = _read_query(blocks[-1]) if blocks else None
    if asked is None:
        return prompts.NOTHING
    shown: list[Extraction] = []
    for block in blocks[:-1]:
        query = _read_query(block)
        if query is not None and query.task is asked.task:
            shown.append(answers.parse(block["answer"], query))
    shown.reverse()  # the most similar stands last, and its word counts first
    found = _extract(asked, shown)
    return prompts.render_answer(found, _form(prompt, blocks)) if found else prompts.NOTHING


def _form(prompt: str, blocks: Sequence[re.Match[str]]) -> AnswerFormat:
    example = blocks[-2]["answer"] if len(blocks) > 1 else prompt[: blocks[0].start()]
    in_json = example.startswith("{") if len(blocks) > 1 else '{"' in example
    return AnswerFormat.JSON if in_json else AnswerFormat.LINEAR


def _read_query(block: re.Match[str]) -> Query | None:
    task = _TASKS.get(block["task"])
    schema, event = block["schema"], None
    if found := _EVENT.fullmatch(schema):
        schema = found["roles"]
        event = EventQuery(type=found["type"], trigger=found["trigger"])
    labels = [label for label in schema.strip("[]").split(", ") if label.strip()]
    if task is None or not labels or not block["text"].strip() or (event is None) == (task is Task.EAE):
        return None
    return Query(task=task, text=block["text"], labels=labels, event=event)


def _extract(asked: Query, shown: Sequence[Extraction]) -> Example | None:
    """The copied annotations as an example, or ``None`` where there are none."""
    given: dict[str, Any] = {"task": asked.task, "text": asked.text, "labels": asked.labels}
    match asked.task:
        case Task.NER:
            seen = [Seen.of(one.text, entity.type, entity) for one in shown for entity in one.entities]
            found = [Entity(type=label, **span.model_dump()) for label, span in find(asked, seen)]
            return Example(**given, entities=found) if found else None
        case Task.RE:
            relations = _relations(asked, shown)
            return Example(**given, relations=relations) if relations else None
        case Task.ED:
            seen = [Seen.of(one.text, event.type, event.trigger) for one in shown for event in one.events]
            events = [Event(type=label, trigger=span) for label, span in find(asked, seen)]
            return Example(**given, events=events) if events else None
        case Task.EAE:
            event = _arguments(asked, shown)
            return Example(**given, events=[event]) if event else None


def _relations(asked: Query, shown: Sequence[Extraction]) -> list[Relation]:
    """For each relation type the first head and the nearest tail that the demonstrations' heads and tails lead to."""
    relations = []
    for label in asked.labels:
        known = [(one.text, found) for one in shown for found in one.relations if found.type == label]
        heads = find(asked, [Seen.of(text, label, found.head) for text, found in known])
        tails = find(asked, [Seen.of(text, label, found.tail) for text, found in known])
        for _, head in heads[:1]:
            others = [tail for _, tail in tails if tail.end <= head.start or tail.start >= head.end]
            if others:
                tail = min(others, key=lambda other: abs(other.start - head.start))
                relations.append(Relation(type=label, head=head, tail=tail))
    return relations


def _arguments(asked: Query, shown: Sequence[Extraction]) -> Event | None:
    if asked.event is None or asked.event.trigger not in asked.text:
        return None
    start = asked.text.index(asked.event.trigger)
    trigger = Span(text=asked.event.trigger, start=start, end=start + len(asked.event.trigger))
    seen = [
        Seen.of(one.text, argument.role, argument)
        for one in shown
        for event in one.events
        for argument in event.arguments
    ]
    spans = [found for found in find(asked, seen) if found[1] != trigger]
    arguments = [Argument(role=role, **span.model_dump()) for role, span in spans]
    return Event(type=asked.event.type, trigger=trigger, arguments=tuple(arguments)) if arguments else None
