"""GBNF grammars (llama.cpp) that restrict a model's answer to the schema's labels, or also to spans of the input."""

from __future__ import annotations

import json
import re
from typing import Literal

from ruie_components.prompts import JSON_NAMES, NOTHING, AnswerFormat, one_line
from ruie_components.tokenization import is_spaced
from ruie_components.types import Query

Hold = Literal["labels", "spans"]

_ATOM = re.compile(r"\s+|\S")
_END = 'end ::= ("\\n" "\\n"?)?'
_JSON_STRING = 'span ::= ([^"\\\\\\x00-\\x1f] | "\\\\" (["\\\\/bfnrt] | "u" hex hex hex hex))+\nhex ::= [0-9a-fA-F]'
_LINEAR_STRING = "span ::= [^;\\n ] [^;\\n]*"
_LINEAR_SIDE = "span ::= [^,;\\n ] [^;\\n]*"


def grammar(query: Query, answer_format: AnswerFormat | str = AnswerFormat.LINEAR, hold: Hold = "labels") -> str:
    r"""A GBNF grammar of the answers to a query, linear in the length of the query's text.

    It accepts ``None`` (in JSON an empty list) and any number of items, a space before the answer, and up to two line
    breaks after it: ``\n\n`` is one token in some vocabularies, and a model that may not write it never stops.

    Args:
        query: The query.
        answer_format: How the answer is written.
        hold: ``labels`` restricts the answer to the labels of the schema. ``spans`` also restricts it to spans of the
            text, which begin and end at word boundaries; line breaks of the text are spaces, as the prompt shows them.
            A span may be ``None`` as well, so that a model can drop an item whose span is not in the text.

    Raises:
        ValueError: ``hold`` is something else.

    >>> print(grammar(Query(task="NER", text="Ada met Bob.", labels=["person", "place"])))
    root ::= " "? ("None" | item ("; " item)*) end
    item ::= label ": " span
    label ::= "person" | "place"
    span ::= [^;\n ] [^;\n]*
    end ::= ("\n" "\n"?)?
    """
    if hold not in ("labels", "spans"):
        raise ValueError(f"hold must be 'labels' or 'spans', got {hold!r}")
    is_json = AnswerFormat(answer_format) is AnswerFormat.JSON
    name, (label_key, *span_keys) = JSON_NAMES[query.task]
    labels = " | ".join(_literal(label, is_json=is_json) for label in query.labels)
    if is_json:
        keys = [f', "{key}": "' for key in span_keys]
        spans = " ".join(f"{_quoted(key)} span {_quoted(chr(34))}" for key in keys)
        begin = '{"' + label_key + '": "'
        rules = [
            f'root ::= " "? {_quoted(chr(123) + json.dumps(name) + ": [")} (item (", " item)*)? "]}}" end',
            f"item ::= {_quoted(begin)} label {_quoted(chr(34))} {spans} {_quoted('}')}",
        ]
    else:
        spans = ' ", " '.join("span" for _ in span_keys)
        rules = [f'root ::= " "? ({_quoted(NOTHING)} | item ("; " item)*) end', f'item ::= label ": " {spans}']
    rules.append(f"label ::= {labels}")
    if hold == "spans":
        rules += _span_rules(one_line(query.text), is_json=is_json)
    elif is_json:
        rules.append(_JSON_STRING)
    else:
        rules.append(_LINEAR_STRING if len(span_keys) == 1 else _LINEAR_SIDE)
    return "\n".join([*rules, _END])


def _span_rules(text: str, *, is_json: bool) -> list[str]:
    """One rule for each word: the word, then nothing or the rest of the text's words; or ``None``, to drop an item."""
    words: list[str] = []
    gaps: list[str] = []  # the white space before each word
    gap = ""
    for atom in _words(text):
        if atom.isspace():
            gap = atom
        else:
            words.append(atom)
            gaps.append(gap)
            gap = ""
    rules = ["span ::= " + " | ".join([*(f"w{i}" for i in range(len(words))), _quoted(NOTHING)])]
    for i, word in enumerate(words):
        rest = ""
        if i + 1 < len(words):
            before = f"{_literal(gaps[i + 1], is_json=is_json)} " if gaps[i + 1] else ""
            rest = f" ({before}w{i + 1})?"
        rules.append(f"w{i} ::= {_literal(word, is_json=is_json)}{rest}")
    return rules


def _words(text: str) -> list[str]:
    """Words of spaced scripts, white space, and every other character by itself."""
    words: list[str] = []
    in_word = False
    for atom in _ATOM.findall(text):
        spaced = len(atom) == 1 and is_spaced(atom)
        if spaced and in_word:
            words[-1] += atom
        else:
            words.append(atom)
        in_word = spaced
    return words


def _literal(text: str, *, is_json: bool) -> str:
    return _quoted(json.dumps(text, ensure_ascii=False)[1:-1] if is_json else text)


def _quoted(text: str) -> str:
    """A GBNF literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return '"' + escaped.replace("\t", "\\t") + '"'
