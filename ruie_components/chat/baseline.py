"""The offline baseline: a chat model that only copies from the demonstrations in its prompt.

It answers without a language model, so that the whole chain can be tried, and it is the lower bound in tables: a
language model's gain over it is what the model adds to the demonstrations.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from ruie_components import answers, prompts
from ruie_components.chat.base import Constraint, ModelInput, Response
from ruie_components.chat.copying import Pattern, find_spans
from ruie_components.prompts import AnswerFormat
from ruie_components.types import Argument, Entity, Event, EventQuery, Example, Extraction, Query, Relation, Span, Task

_BLOCK = re.compile(
    r"^Task: (?P<task>.+)\nSchema: (?P<schema>.+)\nInput: \"(?P<text>.*)\"\nOutput:[ \t]*(?P<answer>.*)$", re.MULTILINE
)
_EVENT = re.compile(r'Given event trigger: "(?P<type>.+?): (?P<trigger>.+)"; Candidate arguments: (?P<roles>\[.*\])')
_TASKS = {name: task for task, name in prompts.TASK_NAMES.items()}


class CopyBaseline:
    """A baseline without a language model: it copies annotated spans of demonstrations that the input contains.

    Its rules are in ``copying.py``. It knows only the demonstrations in the prompt. Its token counts are estimates.
    """

    name = "baseline"
    constraints: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return "CopyBaseline()"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Empty: the same prompt always has the same answer."""
        return {}

    def complete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """Copy an answer from the prompt's demonstrations."""
        text = copy_answer(prompt.text)
        read = sum(prompts.estimate_tokens(content) for _, content in prompt.messages)
        return Response(text, read, prompts.estimate_tokens(text))

    async def acomplete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """``complete``: it takes milliseconds."""
        return self.complete(prompt)

    def stream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Iterator[Response]:
        """The answer word by word."""
        whole = self.complete(prompt)
        *pieces, last = re.findall(r"\S+\s*", whole.text)
        for piece in pieces:
            yield Response(piece)
        yield Response(last, whole.input_tokens, whole.output_tokens)

    async def astream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> AsyncIterator[Response]:
        """The answer word by word."""
        for piece in self.stream(prompt):
            yield piece


def copy_answer(prompt: str) -> str:
    r"""Answer a prompt from its demonstrations only.

    Args:
        prompt: A whole prompt as one string, as ``Prompt.text`` writes it.

    Returns:
        An answer in the format of the demonstrations' answers; ``None`` if the prompt has no block.

    >>> block = 'Task: Named entity recognition\nSchema: [person]\nInput: "{}"\nOutput:'
    >>> copy_answer(block.format("Ada slept.") + " person: Ada\n\n" + block.format("So Ada ran."))
    'person: Ada'
    """
    blocks = list(_BLOCK.finditer(prompt))
    query = _read_query(blocks[-1]) if blocks else None
    if query is None:
        return prompts.NOTHING
    demonstrations: list[Extraction] = []
    for block in blocks[:-1]:
        other = _read_query(block)
        if other is not None and other.task is query.task:
            demonstrations.append(answers.parse(block["answer"], other))
    demonstrations.reverse()  # the most similar one is the last of the prompt and has precedence
    example = _extract(query, demonstrations)
    return prompts.render_answer(example, _form(prompt, blocks)) if example else prompts.NOTHING


def _form(prompt: str, blocks: Sequence[re.Match[str]]) -> AnswerFormat:
    example = blocks[-2]["answer"] if len(blocks) > 1 else prompt[: blocks[0].start()]
    in_json = example.startswith("{") if len(blocks) > 1 else '{"' in example
    return AnswerFormat.JSON if in_json else AnswerFormat.LINEAR


def _read_query(block: re.Match[str]) -> Query | None:
    task = _TASKS.get(block["task"])
    schema, event = block["schema"], None
    if match := _EVENT.fullmatch(schema):
        schema = match["roles"]
        event = EventQuery(type=match["type"], trigger=match["trigger"])
    labels = [label for label in schema.strip("[]").split(", ") if label.strip()]
    if task is None or not labels or not block["text"].strip() or (event is None) == (task is Task.EAE):
        return None
    return Query(task=task, text=block["text"], labels=labels, event=event)


def _extract(query: Query, demonstrations: Sequence[Extraction]) -> Example | None:
    """The copied annotations as an example, or ``None`` if there are none."""
    given: dict[str, Any] = {"task": query.task, "text": query.text, "labels": query.labels}
    match query.task:
        case Task.NER:
            patterns = [Pattern.of(one.text, entity.type, entity) for one in demonstrations for entity in one.entities]
            entities = [Entity(type=label, **span.model_dump()) for label, span in find_spans(query, patterns)]
            return Example(**given, entities=entities) if entities else None
        case Task.RE:
            relations = _relations(query, demonstrations)
            return Example(**given, relations=relations) if relations else None
        case Task.ED:
            patterns = [
                Pattern.of(one.text, event.type, event.trigger) for one in demonstrations for event in one.events
            ]
            events = [Event(type=label, trigger=span) for label, span in find_spans(query, patterns)]
            return Example(**given, events=events) if events else None
        case Task.EAE:
            event = _arguments(query, demonstrations)
            return Example(**given, events=[event]) if event else None


def _relations(query: Query, demonstrations: Sequence[Extraction]) -> list[Relation]:
    """For each relation type the first head and the nearest tail that match the demonstrations' heads and tails."""
    relations = []
    for label in query.labels:
        known = [(one.text, relation) for one in demonstrations for relation in one.relations if relation.type == label]
        heads = find_spans(query, [Pattern.of(text, label, relation.head) for text, relation in known])
        tails = find_spans(query, [Pattern.of(text, label, relation.tail) for text, relation in known])
        for _, head in heads[:1]:
            others = [tail for _, tail in tails if tail.end <= head.start or tail.start >= head.end]
            if others:
                tail = min(others, key=lambda other: abs(other.start - head.start))
                relations.append(Relation(type=label, head=head, tail=tail))
    return relations


def _arguments(query: Query, demonstrations: Sequence[Extraction]) -> Event | None:
    if query.event is None or query.event.trigger not in query.text:
        return None
    start = query.text.index(query.event.trigger)
    trigger = Span(text=query.event.trigger, start=start, end=start + len(query.event.trigger))
    patterns = [
        Pattern.of(one.text, argument.role, argument)
        for one in demonstrations
        for event in one.events
        for argument in event.arguments
    ]
    labelled = [(role, span) for role, span in find_spans(query, patterns) if span != trigger]
    arguments = tuple(Argument(role=role, **span.model_dump()) for role, span in labelled)
    return Event(type=query.event.type, trigger=trigger, arguments=arguments) if arguments else None
