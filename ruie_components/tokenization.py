"""Tokens of a text in any script, spans that cut a word, and the hash by which texts count as equal."""

from __future__ import annotations

import hashlib
import re

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u31a0-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)  # Thai, Lao, Burmese, Khmer, Chinese and Japanese
_KOREAN = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7ff"  # words are separated by spaces, but nouns take endings

_TOKEN = re.compile(rf"(?=\w)[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_ASCII_TOKEN = re.compile(r"\w+", re.ASCII)  # the same tokens in ASCII, in about half the time
_SPACED = re.compile(rf"[^\W{_UNSPACED}{_KOREAN}]")


def tokenize(text: str) -> list[str]:
    """The words of a text in lower case; single characters in scripts without spaces between words.

    >>> tokenize("Ada's 2nd letter: 北京, Zürich")
    ['ada', 's', '2nd', 'letter', '北', '京', 'zürich']
    """
    return (_ASCII_TOKEN if text.isascii() else _TOKEN).findall(text.lower())


def locate_tokens(text: str) -> list[tuple[str, int, int]]:
    """The tokens of a text with their offsets, end-exclusive.

    >>> locate_tokens("Ada's 北京")
    [('ada', 0, 3), ('s', 4, 5), ('北', 6, 7), ('京', 7, 8)]
    """
    return [(match.group().lower(), match.start(), match.end()) for match in _TOKEN.finditer(text)]


def is_spaced(character: str) -> bool:
    """Whether a character is a letter or digit of a script with visible word boundaries, so that names end at one.

    False for scripts without spaces, and for Korean, which appends endings to names.

    >>> is_spaced("a"), is_spaced("ა"), is_spaced("京"), is_spaced("서"), is_spaced("-")
    (True, True, False, False, False)
    """
    return _SPACED.fullmatch(character) is not None


def cuts_word(text: str, start: int, end: int) -> bool:
    """Whether a span begins or ends inside a word. Scripts without spaces have no words to cut.

    >>> cuts_word("Adam slept.", 0, 3), cuts_word("Adam slept.", 0, 4)
    (True, False)
    """
    return _is_inside_word(text, start) or _is_inside_word(text, end)


def _is_inside_word(text: str, offset: int) -> bool:
    return 0 < offset < len(text) and is_spaced(text[offset - 1]) and is_spaced(text[offset])


def text_hash(text: str) -> str:
    """The hash of a text with collapsed white space, 16 hexadecimal digits.

    This is the one rule for "the query's own text": an example whose hash equals the query's is never its
    demonstration, in search, mining and evaluation alike.

    >>> text_hash("Ada  slept.") == text_hash(" Ada slept. ")
    True
    """
    return hashlib.sha256(" ".join(text.split()).encode("utf-8", "surrogatepass")).hexdigest()[:16]
