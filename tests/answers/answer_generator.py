"""Generates answers of many formats whose every item can be recognised, for the law that nothing is lost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random

from ruie_components import Query

WORDS = [
    f"{a}{b}{c}" for a in ("zor", "mip", "quel", "dav", "hun") for b in ("ka", "lo", "ti") for c in ("x", "ng", "st")
]
LABELS = {
    "NER": ["person", "city"],
    "RE": ["works for", "located in"],
    "ED": ["attack", "sale"],
    "EAE": ["agent", "goal"],
}
NAMES = {"NER": ("type", "text"), "RE": ("type", "head", "tail"), "ED": ("type", "trigger"), "EAE": ("role", "text")}
LISTS = {"NER": "entities", "RE": "relations", "ED": "events", "EAE": "arguments"}
PREFACES = [
    "",
    "",
    "Sure! Here you go:\n",
    "<think>\nhmm\n</think>\n",
    "**Thinking:**\nhmm\n\n**Answer:**\n",
    "<|im_start|>assistant\n",
    "```\n",
    "<answer>",
]
ENDINGS = ["", "", "\n", "<|im_end|>", "\n```", "</answer>", "\n\n"]


@dataclass
class Generated:
    """An answer, what was asked, its items, and their words, each of which is a result or is rejected."""

    query: Query
    answer: str
    words: list[str]
    items: list[tuple[str, list[str]]]


def generate(random: Random, task: str | None = None) -> Generated:
    """One answer: real and made-up spans, labels inside and outside of the schema, in a random format."""
    task = task or random.choice(list(LABELS))
    words = random.sample(WORDS, 14)
    text = " ".join(word.title() for word in words[:9]) + " attacked."
    event = {"type": "attack", "trigger": "attacked"} if task == "EAE" else None
    query = Query(task=task, text=text, labels=LABELS[task], event=event)
    sides = 2 if task == "RE" else 1
    items, used = [], []
    for _ in range(random.randint(1, 4)):
        label = random.choice([*LABELS[task], *LABELS[task], "planet"])
        spans = [random.choice(words).title() for _ in range(sides)]
        items.append((label, spans))
        used += spans
    forms = [_linear, _lines, _json, _json_other, _by_label, _tuples, _table, _records, _pairs if sides == 2 else _tags]
    forms += [_headings, _headings, *([] if sides == 2 else [_types_below])]
    body = random.choice(forms)(random, task, items)
    return Generated(query, random.choice(PREFACES) + body + random.choice(ENDINGS), used, items)


def _linear(random: Random, task: str, items: list) -> str:
    return random.choice(["; ", "\n", ";", ";\n"]).join(f"{label}: {', '.join(spans)}" for label, spans in items)


def _lines(random: Random, task: str, items: list) -> str:
    bullet = random.choice(["- ", "* ", "1. ", "\u2022 "])
    bold = random.choice(["", "**"])
    return "\n".join(f"{bullet}{bold}{label}{bold}: {', '.join(spans)}" for label, spans in items)


def _rows(task: str, items: list, names: tuple[str, ...]) -> list[dict]:
    return [dict(zip(names, (label, *spans), strict=True)) for label, spans in items]


def _json(random: Random, task: str, items: list) -> str:
    rows = _rows(task, items, NAMES[task])
    written = json.dumps(random.choice([rows, {LISTS[task]: rows}]), indent=random.choice([None, 2]))
    return written[: -random.randint(0, 3) or None]


def _json_other(random: Random, task: str, items: list) -> str:
    label = random.choice(["type", "label", "class", "extraction_class", "foo"])
    span = ["head", "tail"] if task == "RE" else [random.choice(["span", "extraction_text", "name", "bar"])]
    rows = [row | {"extra": random.choice([[], {}, 0.5, {"k": "v"}])} for row in _rows(task, items, (label, *span))]
    return json.dumps({random.choice(["extractions", "data", "thing"]): rows})


def _by_label(random: Random, task: str, items: list) -> str:
    by_label: dict[str, list] = {}
    for label, spans in items:
        by_label.setdefault(label, []).append(spans if len(spans) == 2 else spans[0])
    return json.dumps(by_label)


def _tuples(random: Random, task: str, items: list) -> str:
    if random.random() < 0.5:
        return json.dumps([[spans[0], label, *spans[1:]] for label, spans in items])
    return "\n".join(f"({', '.join([spans[0], label, *spans[1:]])})" for label, spans in items)


def _table(random: Random, task: str, items: list) -> str:
    names = NAMES[task]
    rows = [names, ["---"] * len(names), *([label, *spans] for label, spans in items)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _records(random: Random, task: str, items: list) -> str:
    names = list(NAMES[task])
    bold, quote = random.choice(["", "**"]), random.choice(["", '"'])
    first, between = random.choice([("- ", "\n  "), ("", "\n"), ("1. ", ", "), ("", " | ")])
    records = []
    for label, spans in items:
        pairs = list(zip(names, (label, *spans), strict=True))
        random.shuffle(pairs)
        records.append(first + between.join(f"{bold}{key}{bold}: {quote}{value}{quote}" for key, value in pairs))
    return random.choice(["\n", "\n\n"]).join(records)


def _headings(random: Random, task: str, items: list) -> str:
    """Labels, some of them with a key, above lists of their spans."""
    heading = random.choice(["{}:", "**{}**", "**{}:**", "### {}", "## {}:", "Type: {}", "**Type:** {}", "- Type: {}"])
    by_label: dict[str, list] = {}
    for label, spans in items:
        by_label.setdefault(label, []).append(", ".join(spans))
    bullet = random.choice(["- ", "* ", "1. ", "  - "]) + random.choice(["", "Text: "] if "Type" in heading else [""])
    parts = [
        f"{heading.format(label)}\n" + "\n".join(bullet + span for span in spans) for label, spans in by_label.items()
    ]
    return random.choice(["\n", "\n\n"]).join(parts)


def _types_below(random: Random, task: str, items: list) -> str:
    form = random.choice(["1. {1}\n   - Type: {0}", "**{1}**\n- Type: {0}", "- {1}\n  Type: {0}", "{1}\nType: {0}"])
    return random.choice(["\n", "\n\n"]).join(form.format(label, spans[0]) for label, spans in items)


def _tags(random: Random, task: str, items: list) -> str:
    form = random.choice(["<{0}>{1}</{0}>", '<entity type="{0}">{1}</entity>', "[{1}]({0})", "{1} = {0}"])
    between = ", " if "=" in form else random.choice([" ", "\n", " and ", ", "])
    return between.join(form.format(label, spans[0]) for label, spans in items)


def _pairs(random: Random, task: str, items: list) -> str:
    form = random.choice(["{1} --{0}--> {2}", "({1})-[:{0}]->({2})", "{1} -{0}-> {2}", "{1} -> {0} -> {2}"])
    return random.choice(["\n", "; "]).join(form.format(label, *spans) for label, spans in items)
