"""OpenAI's batch files: writes requests as JSON Lines, and reads the answers as a chat model.

The id of a request is a hash of its messages: the same on every machine, and answers may come in any order.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from ruie_components.chat.base import Constraint, ModelInput, Response
from ruie_components.errors import ChatModelError, RowError
from ruie_components.files import atomic_text, json_object

REQUESTS_PER_FILE = 50_000
"""OpenAI's limit."""

_REQUESTS = re.compile(r"requests-\d{5}\.jsonl")
_ROLES = {"system": "system", "human": "user", "ai": "assistant"}
_FINISHED_AT_LIMIT = "length"


def request_id(prompt: ModelInput) -> str:
    """The id of a prompt: 32 hexadecimal digits of a hash of its messages."""
    content = json.dumps(openai_messages(prompt), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def openai_messages(prompt: ModelInput) -> list[dict[str, str]]:
    """The messages of a prompt as OpenAI's protocol writes them."""
    return [{"role": _ROLES[role], "content": content} for role, content in prompt.messages]


def write_requests(
    prompts: Iterable[ModelInput],
    folder: Path | str,
    model: str,
    *,
    options: Mapping[str, Any] | None = None,
    per_file: int = REQUESTS_PER_FILE,
) -> list[Path]:
    """Write ``requests-00000.jsonl`` and so on, in place of all such files; equal prompts are one request.

    Args:
        prompts: The prompts, read one at a time.
        folder: The folder for the files.
        model: The model's name at the server.
        options: More keys of each request's body, such as ``max_tokens``. ``temperature`` is 0 by default; ``None``
            leaves a key out, as for models that take no temperature.
        per_file: How many requests a file holds at most.

    Returns:
        The files, in order.

    Raises:
        ValueError: The options have ``model`` or ``messages``.
    """
    given = {"temperature": 0, **(options or {})}
    if own := sorted(given.keys() & {"model", "messages"}):
        raise ValueError(f"{own[0]!r} of a request is given by the model's name and the prompt: leave the option out")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    body = {"model": model, **{name: value for name, value in given.items() if value is not None}}
    lines = _request_lines(prompts, body)
    paths: list[Path] = []
    line = next(lines, None)
    for path in folder.iterdir():
        if _REQUESTS.fullmatch(path.name):  # a file of an earlier call that stays would be sent, and paid for
            path.unlink()
    while line is not None:
        paths.append(folder / f"requests-{len(paths):05d}.jsonl")
        with atomic_text(paths[-1]) as file:
            for _ in range(per_file):
                file.write(line)
                line = next(lines, None)
                if line is None:
                    break
    return paths


def _request_lines(prompts: Iterable[ModelInput], body: dict[str, Any]) -> Iterator[str]:
    known: set[bytes] = set()
    for prompt in prompts:
        custom_id = request_id(prompt)
        if (key := bytes.fromhex(custom_id)) not in known:
            known.add(key)
            request = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions"}
            row = {**request, "body": {**body, "messages": openai_messages(prompt)}}
            yield json.dumps(row, ensure_ascii=False) + "\n"


class BatchAnswers:
    """The answers of a batch as a chat model: a prompt gets the answer to its request.

    Args:
        path: A file of answers, or a folder, whose ``.jsonl`` files are read, except those that ``write_requests``
            wrote. Only the positions of the answers are held in memory.

    Raises:
        RowError: A line is not from a batch's output; the message names file and line.
        ChatModelError: There is no such file or folder, or it holds no answers.
    """

    constraints: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = {}

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.name = f"openai-batch:{self.path.name}"
        self._lock = Lock()
        self._positions: dict[bytes, tuple[Path, int, int]] = {}  # file, offset, number of the line
        if not self.path.exists():
            raise ChatModelError(f"there is no {self.path}: give the file of a batch's answers, or their folder")
        for file in [self.path] if not self.path.is_dir() else sorted(self.path.glob("*.jsonl")):
            if not (self.path.is_dir() and _REQUESTS.fullmatch(file.name)):
                self._index(file)
        if not self._positions:
            what = "answers (*.jsonl)" if self.path.is_dir() else "answers"
            raise ChatModelError(f"{self.path} holds no {what}: put the output files of the batches there")

    def __len__(self) -> int:
        return len(self._positions)

    def _index(self, path: Path) -> None:
        offset = 0
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    row = json_object(f"{path}, line {number}", line.decode("utf-8", "replace"))
                    try:
                        key = bytes.fromhex(row["custom_id"])
                    except (KeyError, TypeError, ValueError):
                        raise RowError(
                            f"{path}, line {number}: not an answer to a request of this package: custom_id is missing "
                            "or foreign"
                        ) from None
                    if key not in self._positions or not _failure(row):  # a later batch may answer a failed request
                        self._positions[key] = path, offset, number
                offset += len(line)

    def complete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """The answer to a prompt.

        Raises:
            ChatModelError: There is no answer, or the request failed; the message says why.
        """
        custom_id = request_id(prompt)
        position = self._positions.get(bytes.fromhex(custom_id))
        if position is None:
            raise ChatModelError(
                f"{self.path} has no answer to request {custom_id}: the batch is not finished, or the "
                "pool, the model's prompt or the texts have changed since it was written"
            )
        path, offset, line = position
        with path.open("rb") as file:
            file.seek(offset)
            row = json.loads(file.readline())
        if failure := _failure(row):
            raise ChatModelError(f"request {custom_id} failed in the batch ({path}, line {line}): {failure}")
        body = row["response"]["body"]
        choice, usage = body["choices"][0], body.get("usage") or {}
        return Response(
            choice["message"].get("content") or "",
            usage.get("prompt_tokens"),
            usage.get("completion_tokens"),
            choice.get("finish_reason") == _FINISHED_AT_LIMIT,
        )

    async def acomplete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """``complete``: it reads one line."""
        return self.complete(prompt)

    def stream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Iterator[Response]:
        """The whole answer as one piece."""
        yield self.complete(prompt)

    async def astream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> AsyncIterator[Response]:
        """The whole answer as one piece."""
        yield self.complete(prompt)


def _failure(row: Mapping[str, Any]) -> str:
    """Why a request has no answer; empty if it has one."""
    if row.get("error"):
        return json.dumps(row["error"], ensure_ascii=False)
    match response := row.get("response"):
        case {"status_code": 200, "body": {"choices": [{"message": {"refusal": str(said)}}, *_]}} if said:
            return f"the model refused: {said}"
        case {"status_code": 200, "body": {"choices": [{"message": {}}, *_]}}:
            return ""
        case {"status_code": 200}:
            return f"no message in the response {json.dumps(response, ensure_ascii=False)[:500]}"
        case _:
            return json.dumps(response, ensure_ascii=False)[:500] if response else "no response"
