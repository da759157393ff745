"""An extension of griffe for the documentation: examples of docstrings (``>>>``) are shown as code."""

import re

import griffe

_EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)  # up to the next empty line


class DoctestFences(griffe.Extension):
    """Put examples between fences: Markdown would read ``>>>`` as quotations."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:  # noqa: ARG002 - griffe passes more
        """Change the docstring of what was just read."""
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(lambda example: f"```pycon\n{example[0]}\n```", obj.docstring.value)
