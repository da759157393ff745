"""Builds an extraction from the items of an answer: splits lists and pairs, grounds spans, rejects the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Literal

from ruie_components.answers.grounding import Grounder, SpanMatch
from ruie_components.answers.items import Item, Offsets
from ruie_components.answers.label_matcher import LabelMatcher, says_nothing
from ruie_components.answers.mention_assignment import AssignedSpan, MentionAssigner, PredictedSpan
from ruie_components.prompts import one_line
from ruie_components.types import (
    Argument,
    Demonstration,
    Entity,
    Event,
    Extraction,
    Grounding,
    Query,
    Rejected,
    Rejection,
    Relation,
    Span,
    Task,
)

MentionMode = Literal["first", "all"]

_LISTED = re.compile(r"[,\uff0c\u3001;\uff1b]")
_BETWEEN_SIDES = re.compile(r"->|\u2192|[,\uff0c\u3001|]")
_SEMICOLON = re.compile(r"[;\uff1b]")
_GROUP = re.compile(r"[(\[]([^()\[\]]*)[)\]]")
_BETWEEN_GROUPS = re.compile(r"(?:[\s,;.|*_`-]|and\b)*")
_OFFSETS = re.compile(r"\s*[(\[@]\s*(\d{1,12})\s*(?:[-:,\u2013]|\.\.|to)\s*(\d{1,12})\s*[)\]]?$")
_MOST_SPLITS = 32  # the splits of a relation into head and tail
_MOST_ALL = 10_000  # the mentions that ``mentions="all"`` adds
_MOST_KNOWN = 10_000  # rejected parts that are remembered
_RANK = {Grounding.EXACT: 3, Grounding.NORMALISED: 2, Grounding.FUZZY: 1}


class ExtractionBuilder:
    """Collects the items of one answer into an extraction."""

    def __init__(
        self,
        query: Query,
        matcher: LabelMatcher,
        grounder: Grounder,
        demonstrations: Sequence[Demonstration] = (),
        *,
        mentions: MentionMode = "first",
    ) -> None:
        self._query, self._matcher, self._grounder = query, matcher, grounder
        self._demonstrations, self._mentions = demonstrations, mentions
        self._pairs, self._triggers = query.task is Task.RE, query.task is Task.ED
        self._assigner = MentionAssigner(grounder)
        self._rejected: list[Rejected] = []
        self._known: dict[tuple[str, tuple[str, ...], str], Rejected] = {}  # rejected parts, which a model may repeat
        self._absent: dict[str, Rejection] = {}  # why bodies without a span were rejected
        self._predicted: list[PredictedSpan] = []
        self._counts: dict[tuple[str, str], int] = {}  # predictions of a label and span without offsets
        self._relations: list[tuple[Relation, Item]] = []

    def add(self, item: Item) -> None:
        """Add an item to the results or to the rejected parts."""
        if item.superseded:
            self._reject(item, Rejection.SUPERSEDED)
        elif not item.label:
            self._reject(item, Rejection.UNREADABLE)
        elif not item.known:
            self._reject(item, Rejection.UNKNOWN_LABEL)
        elif self._pairs:
            self._add_relation(item)
        else:
            self._add_span(item)

    def extraction(self, answer: str) -> Extraction:
        """The results and the rejected parts."""
        entities: list[Entity] = []
        events: list[Event] = []
        ranges: list[Offsets] = [item.answer_range for _, item in self._relations]
        if self._query.task is Task.EAE:
            events, ranges = self._event_of_query()
        elif not self._pairs:
            many_labels = self._triggers
            assigned = self._assigner.in_order(self._predicted, many_labels=many_labels)
            assigned += self._other_mentions(assigned, free_of_others=not many_labels)
            ranges = [item.answer_range for _, _, item in assigned]
            for label, match, _ in assigned:
                if many_labels:
                    events.append(Event(type=label, trigger=Span(**self._span(match))))
                else:
                    entities.append(Entity(type=label, **self._span(match)))
        return Extraction(
            task=self._query.task,
            text=self._query.text,
            labels=self._query.labels,
            entities=tuple(entities),
            relations=tuple(relation for relation, _ in self._relations),
            events=tuple(events),
            rejected=tuple(self._rejected),
            answer=answer,
            answer_ranges=tuple(ranges),
        )

    def _span(self, match: SpanMatch) -> dict[str, Any]:
        start, end, grounding = match
        return {"text": self._query.text[start:end], "start": start, "end": end, "grounding": grounding}

    def _is_mentioned(self, span: str) -> bool:
        if self._grounder.mentions(span).get(0) is None:
            return False
        return not (self._demonstrations and self._is_leaked_part(span))

    def _is_leaked_part(self, span: str) -> bool:
        """Whether the text has a span only within words, none of them like it, and a demonstration as whole words.

        A form with an ending of one letter is like the span (``moon`` in ``moons``); another name is not (``Titan`` in
        ``Titania``). Triggers are never such parts: they inflect (``attack`` in ``attacked``), and demonstrations have
        the same ones by design.
        """
        return (
            bool(self._demonstrations)
            and not self._triggers
            and self._grounder.has_only_within_words(span)
            and self._shown.has_as_words(span)
            and self._grounder.most_similar(span) is None
        )

    def _other_mentions(self, assigned: Sequence[AssignedSpan], *, free_of_others: bool) -> list[AssignedSpan]:
        """With ``mentions="all"``: the other mentions of assigned spans."""
        if self._mentions != "all":
            return []
        taken: dict[Offsets, set[str]] = {}
        for label, match, _ in assigned:
            taken.setdefault(match[:2], set()).add(label)
        spans = {(label, self._query.text[match.start : match.end]): item for label, match, item in assigned}
        others = []
        for (label, span), item in spans.items():
            matches = self._grounder.mentions(span).first(_MOST_ALL)
            for match in matches:
                here = taken.setdefault(match[:2], set())
                if match.grounding == matches[0].grounding and label not in here and not (here and free_of_others):
                    here.add(label)
                    others.append(AssignedSpan(label, match, item))
        return others

    # spans with a label: entities, triggers, arguments

    def _predict(self, item: Item, span: str, offsets: Offsets | None = None) -> None:
        if offsets is None:
            key = (item.label, span)
            count = self._counts.get(key, 0)
            if count and self._grounder.matches(span).get(count) is None:
                return  # the text has fewer mentions than the answer, whose repeats are dropped in any case
            self._counts[key] = count + 1
        self._predicted.append(PredictedSpan(item.label, span, item, offsets))

    def _add_span(self, item: Item) -> None:
        if len(item.spans) != 1:
            self._reject(item, Rejection.UNREADABLE)
            return
        (body,) = item.spans
        offsets = item.offsets[0] if item.offsets else None
        if offsets is None and (reason := self._absent.get(body)):
            self._reject_part(item, body, reason)
            return
        if self._is_mentioned(body) or (offsets and self._grounder.at(body, *offsets)):
            may_end_in_offsets = offsets is None and not body[-1:].isalpha()
            if may_end_in_offsets and (given := _OFFSETS.search(body)) and not self._grounder.contains(body):
                body, offsets = body[: given.start()], (int(given[1]), int(given[2]))
            self._predict(item, body, offsets)
            return
        if says_nothing(body):
            return
        groups = self._inner_items(item, body) if _LISTED.search(body) else []
        if len(groups) > 1:
            for group in groups:
                self._add_span(group)
            return
        if (given := _OFFSETS.search(body)) and self._is_mentioned(bare := body[: given.start()]):
            self._predict(item, bare, (int(given[1]), int(given[2])))
            return
        listed = [part for part in (part.strip(" []") for part in _LISTED.split(body)) if part]
        mentioned = [self._is_mentioned(part) for part in listed]
        if len(listed) < 2 or not all(mentioned):
            if self._grounder.most_similar(body):
                self._predict(item, body)
                return
            if not any(mentioned):
                self._absent[body] = self._reason([body])
                self._reject_part(item, body, self._absent[body])
                return
        for part in listed:
            if self._grounder.matches(part).get(0) and not self._is_leaked_part(part):
                self._predict(item, part)
            else:
                self._reject_part(item, part, self._reason([part]))

    def _inner_items(self, item: Item, body: str) -> list[Item]:
        """The items of a body in which labels of the schema follow commas: ``Ada, place: Paris``."""
        cuts: list[tuple[int, str, int]] = [(0, item.label, 0)]
        for comma in _LISTED.finditer(body):
            match = self._matcher.at(body, comma.end(), len(body))
            cuts += [(comma.start(), match.label, match.body)] if match else []
        ends = [start for start, _, _ in cuts[1:]] + [len(body)]
        return [
            Item(label, (body[begin:end].strip(),), body[start:end].strip(), answer_range=item.answer_range)
            for (start, label, begin), end in zip(cuts, ends, strict=True)
        ]

    # the event of an EAE query

    def _event_of_query(self) -> tuple[list[Event], list[Offsets]]:
        event = self._query.event
        if event is None:
            return [], []
        trigger = self._grounder.matches(event.trigger).get(0)
        if event.start is not None:
            trigger = SpanMatch(event.start, event.start + len(event.trigger), Grounding.EXACT)
        assigned = self._assigner.near(self._predicted, trigger)
        assigned += self._other_mentions(assigned, free_of_others=False)
        if trigger is None:
            self._reject(Item(event.type, (event.trigger,), ""), Rejection.UNGROUNDED)
            for label, match, item in assigned:
                text = self._query.text[match.start : match.end]
                self._reject(Item(label, (text,), item.raw), Rejection.UNGROUNDED)
            return [], []
        arguments = tuple(Argument(role=label, **self._span(match)) for label, match, _ in assigned)
        ranges = [item.answer_range for _, _, item in assigned]
        return [Event(type=event.type, trigger=Span(**self._span(trigger)), arguments=arguments)], ranges

    # relations

    def _add_relation(self, item: Item) -> None:
        if len(item.spans) == 2:
            self._relate(item, *item.spans)
            return
        (body,) = item.spans
        sides = self._sides(body)
        if sides and all(map(self._is_mentioned, sides)):
            self._relate(item, *sides)
            return
        groups = self._groups(item, body)
        if len(groups) > 1:
            for group in groups:
                self._add_relation(group)
        elif sides:
            self._relate(item, *sides)
        elif not says_nothing(body):
            self._reject(item, Rejection.UNREADABLE)

    def _groups(self, item: Item, body: str) -> list[Item]:
        """The pairs of a body: by labels of the schema, ``(Ada, Corvex), (Ada, Lindal)``, or semicolons."""
        groups = self._inner_items(item, body)
        if len(groups) == 1 and _BETWEEN_GROUPS.fullmatch(_GROUP.sub("", body)):
            groups = [_part_of(item, group[1].strip()) for group in _GROUP.finditer(body)]
        if len(groups) <= 1:
            groups = [_part_of(item, part.strip()) for part in _SEMICOLON.split(body)]
        return [group for group in groups if group.spans[0]]

    def _sides(self, body: str) -> tuple[str, str] | None:
        """Head and tail: the split at the comma whose sides both match the text, as exactly as possible."""
        if body[:1] + body[-1:] in ("()", "[]", "<>"):
            body = body[1:-1]
        best: tuple[int, tuple[str, str]] | None = None
        for comma in islice(_BETWEEN_SIDES.finditer(body), _MOST_SPLITS):
            sides = body[: comma.start()].strip(), body[comma.end() :].strip()
            if all(sides):
                matches = [self._grounder.mentions(side).get(0) for side in sides]
                rank = sum(_RANK[match.grounding] for match in matches if match) + 10 * all(matches)
                if best is None or rank > best[0]:
                    best = rank, sides
        return best[1] if best else None

    def _relate(self, item: Item, head: str, tail: str) -> None:
        offsets = item.offsets if len(item.offsets) == 2 else (None, None)
        missing = [
            side
            for side, given in zip((head, tail), offsets, strict=True)
            if self._grounder.matches(side).get(0) is None
            or (self._is_leaked_part(side) and not (given and self._grounder.at(side, *given)))
        ]
        if missing:
            if not (says_nothing(head) and says_nothing(tail)):  # otherwise a single side would be lost
                self._reject(Item(item.label, (head, tail), item.raw), self._reason(missing))
            return
        one = PredictedSpan(item.label, head, item, offsets[0])
        pair = self._assigner.pair(one, PredictedSpan(item.label, tail, item, offsets[1]))
        if pair:
            sides = {name: Span(**self._span(match)) for name, match in zip(("head", "tail"), pair, strict=True)}
            self._relations.append((Relation(type=item.label, **sides), item))

    # rejected parts

    @cached_property
    def _shown(self) -> Grounder:
        texts = [one_line(shown.example.text) for shown in self._demonstrations]
        return Grounder("\n".join(texts), answer_length=len(self._query.text), threshold=None)

    def _reason(self, missing: Sequence[str]) -> Rejection:
        leaked = self._demonstrations and all(self._shown.mentions(span).get(0) for span in missing)
        return Rejection.LEAKED if leaked else Rejection.UNGROUNDED

    def _reject(self, item: Item, reason: Rejection) -> None:
        self._add_rejected(reason, item.label, item.spans, item.raw)

    def _reject_part(self, item: Item, span: str, reason: Rejection) -> None:
        self._add_rejected(reason, item.label, (span,), _raw_of(item, span))

    def _add_rejected(self, reason: Rejection, label: str, spans: tuple[str, ...], raw: str) -> None:
        key = (label, spans, raw)
        rejected = self._known.get(key)
        if rejected is None or rejected.reason is not reason:
            rejected = Rejected(reason=reason, label=label, spans=spans, answer=raw)
            if len(self._known) < _MOST_KNOWN:
                self._known[key] = rejected
        self._rejected.append(rejected)


def _raw_of(item: Item, span: str) -> str:
    return item.raw if span in item.raw else span


def _part_of(item: Item, span: str) -> Item:
    return Item(item.label, (span,), _raw_of(item, span), answer_range=item.answer_range)
