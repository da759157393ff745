"""Grammars accept the gold answers and nothing outside of the schema or the text."""

import json
import re

import pytest

from ruie_components import Example, Query, prompts
from ruie_components.answers import grammar, parse

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|[\w-]+|[()|?*+]')


def accepts(gbnf: str, answer: str) -> bool:
    """Whether an answer is of a grammar: the subset of GBNF that is written here, as sets of end positions."""
    rules = dict(line.split(" ::= ", 1) for line in gbnf.splitlines())
    trees: dict[str, tuple] = {}

    def alternatives(tokens: list[str]) -> tuple:
        branches: list[list] = [[]]
        while tokens and tokens[0] != ")":
            token = tokens.pop(0)
            if token == "|":
                branches.append([])
            elif token in "?*+":
                branches[-1][-1] = (token, branches[-1][-1])
            elif token == "(":
                branches[-1].append(alternatives(tokens))
                tokens.pop(0)
            else:
                branches[-1].append(token)
        return ("|", branches)

    def ends(node, at: int) -> set[int]:
        if isinstance(node, str):
            if node[0] == '"':
                literal = json.loads(node)
                return {at + len(literal)} if answer.startswith(literal, at) else set()
            if node[0] == "[":
                return {at + 1} if at < len(answer) and re.fullmatch(node, answer[at]) else set()
            if node not in trees:
                trees[node] = alternatives(_TOKEN.findall(rules[node]))
            return ends(trees[node], at)
        kind, inner = node
        if kind == "|":
            reached: set[int] = set()
            for branch in inner:
                here = {at}
                for part in branch:
                    here = {end for start in here for end in ends(part, start)}
                reached |= here
            return reached
        seen, new = set(), {at}
        while new:
            new = {end for start in new for end in ends(inner, start)} - seen
            seen |= new
            if kind == "?":
                break
        return seen if kind == "+" else seen | {at}

    return len(answer) in ends("root", 0)


def span(text: str, part: str) -> dict:
    start = text.index(part)
    return {"text": part, "start": start, "end": start + len(part)}


TEXT = 'Ada "the first" met\nBob at AT&T \\ in \u5317\u4eac.'
ADA, BOB = span(TEXT, 'Ada "the first"'), span(TEXT, "Bob")
EXAMPLES = [
    Example(
        task="NER",
        text=TEXT,
        labels=["person", "a \"b\""],
        entities=[ADA | {"type": "person"}, BOB | {"type": "a \"b\""}],
    ),
    Example(task="NER", text=TEXT, labels=["city"], entities=[span(TEXT, "\u5317") | {"type": "city"}]),
    Example(task="NER", text=TEXT, labels=["city"]),
    Example(task="RE", text=TEXT, labels=["met"], relations=[{"type": "met", "head": ADA, "tail": BOB}]),
    Example(task="ED", text=TEXT, labels=["meet"], events=[{"type": "meet", "trigger": span(TEXT, "met")}]),
    Example(
        task="EAE",
        text=TEXT,
        labels=["who"],
        events=[{"type": "meet", "trigger": span(TEXT, "met"), "arguments": [BOB | {"role": "who"}]}],
    ),
]  # fmt: skip


@pytest.mark.parametrize("hold", ["labels", "spans"])
@pytest.mark.parametrize("answer_format", ["linear", "json"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.task} {len(example.annotations)}")
def test_gold_answers_are_accepted(example, answer_format, hold):
    rules = grammar(example.query, answer_format, hold)
    answer = prompts.render_answer(example, answer_format)
    for written in (answer, f" {answer}", f"{answer}\n\n", f"{answer}\n"):
        assert accepts(rules, written)
    assert not accepts(rules, f"{answer}\n\n\n")
    assert not accepts(rules, answer[:-1]) or answer_format == "linear"


def test_what_is_held_is_held():
    query = Query(task="NER", text="Adam met Bob.", labels=["person"])
    assert accepts(grammar(query), "person: Eve")
    assert not accepts(grammar(query), "place: Bob")
    held = grammar(query, hold="spans")
    assert accepts(held, "person: Bob; person: Adam met; person: Bob.")
    assert accepts(held, "person: None; person: Bob")
    assert [entity.text for entity in parse("person: None; person: Bob", query).entities] == ["Bob"]
    for answer in ("person: Eve", "person: Ada", "person: dam", "place: Bob", "person: ", "person: Adam Bob"):
        assert not accepts(held, answer)
    with pytest.raises(ValueError, match="'labels' or 'spans'"):
        grammar(query, hold="words")


def test_a_grammar_is_linear_in_the_text():
    sizes = [len(grammar(Query(task="NER", text="word " * n, labels=["a"]), "json", "spans")) for n in (1000, 2000)]
    assert sizes[1] < 2.3 * sizes[0]
