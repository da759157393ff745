"""What a word is, in scripts that part their words by spaces and in those that don't."""

from __future__ import annotations

import re

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u31a0-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)  # Thai, Lao, Burmese, Khmer, Chinese and Japanese
_KOREAN = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7ff"  # spaces part its words, but endings are written onto nouns

_WORD = re.compile(rf"(?=\w)[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_PARTED = re.compile(rf"[^\W{_UNSPACED}{_KOREAN}]")


def words(text: str) -> list[str]:
    """The words of a text in lower case; single characters where a script puts no spaces between words.

    >>> words("Ada's 2nd letter: 北京, Zürich")
    ['ada', 's', '2nd', 'letter', '北', '京', 'zürich']
    """
    return _WORD.findall(text.lower())


def is_parted(character: str) -> bool:
    """Whether it is a letter or digit of a script in which a word's ends show, so that a name ends where a word ends.

    Not so in scripts without spaces, nor in Korean, where endings are written onto names.

    >>> is_parted("a"), is_parted("ა"), is_parted("京"), is_parted("서"), is_parted("-")
    (True, True, False, False, False)
    """
    return _PARTED.fullmatch(character) is not None
