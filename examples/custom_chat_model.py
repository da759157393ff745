"""A chat model of your own: here one behind an HTTP gateway that streams lines and can hold answers to a JSON schema.

A function from messages to text is already a model: ``Extractor(store, lambda messages: ...)``. A class like this one
can do more: it names itself in caches and reports, streams, says where an answer was cut off, and takes a JSON schema.

Run it against your gateway, or let it start a toy one:

    pip install ruie-components
    GATEWAY_URL=https://llm.example.org/v1/answer python examples/custom_chat_model.py
    python examples/custom_chat_model.py
"""

import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx

from ruie_components import DemonstrationStore, Extractor
from ruie_components.chat import Constraint, ModelInput, Response
from ruie_components.starter import starter_examples


class GatewayModel:
    """The ``ChatModel`` protocol over a gateway that answers with a JSON object a line: ``{"text": ..., "done": ...}``.

    Args:
        url: Where prompts are posted to.
        timeout: Seconds without a byte until a request fails. ``Extractor`` repeats what failed for a passing reason.
    """

    constraints = frozenset({"json_schema"})  # with answer_format="json" the schema is passed on

    def __init__(self, url: str, timeout: float = 60) -> None:
        self.name = f"gateway:{url}"
        self.settings = {"temperature": 0}  # part of every cache key
        self._url, self._timeout = url, timeout

    def _body(self, prompt: ModelInput, constraint: Constraint | None) -> dict[str, object]:
        messages = [{"role": role, "content": content} for role, content in prompt.messages]
        schema = constraint.json_schema if constraint else None
        return {"messages": messages, "schema": schema, **self.settings}

    def stream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Iterator[Response]:
        """The pieces of an answer as they arrive."""
        body = self._body(prompt, constraint)
        with httpx.stream("POST", self._url, json=body, timeout=self._timeout) as response:
            response.raise_for_status()  # httpx's errors are known to the retry policy
            for line in response.iter_lines():
                yield _read(line)

    def complete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """A whole answer."""
        whole = Response("")
        for piece in self.stream(prompt, constraint=constraint):
            whole += piece
        return whole

    async def astream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> AsyncIterator[Response]:
        """``stream`` without blocking the event loop."""
        body = self._body(prompt, constraint)
        async with (
            httpx.AsyncClient(timeout=self._timeout) as client,
            client.stream("POST", self._url, json=body) as response,
        ):
            response.raise_for_status()
            async for line in response.aiter_lines():
                yield _read(line)

    async def acomplete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """``complete`` without blocking the event loop."""
        whole = Response("")
        async for piece in self.astream(prompt, constraint=constraint):
            whole += piece
        return whole


def _read(line: str) -> Response:
    piece = json.loads(line)
    return Response(piece["text"], truncated=piece["done"] == "length")


class ToyGateway(BaseHTTPRequestHandler):
    """Says that every capitalised word but the first is a person; for trying the class above without a gateway."""

    def do_POST(self) -> None:
        """Answer the last message."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"].partition('Input: "')[2].partition('"')[0]
        names = [word.strip(".,") for word in text.split()[1:] if word.istitle()]
        if body["schema"]:
            answer = json.dumps({"entities": [{"type": "person", "text": name} for name in names]})
        else:
            answer = "; ".join(f"person: {name}" for name in names)
        self.send_response(200)
        self.end_headers()
        for piece in [answer[i : i + 8] for i in range(0, len(answer), 8)]:
            self.wfile.write(f"{json.dumps({'text': piece, 'done': ''})}\n".encode())

    def log_message(self, *_: object) -> None:
        """Not on standard error."""


def main(url: str) -> None:
    """Extract with the gateway, in both answer formats, and watch a result grow."""
    with DemonstrationStore.create(starter_examples("NER"), progress=False) as store:
        for answer_format in ("linear", "json"):
            extractor = Extractor(store, GatewayModel(url), labels=["person"], answer_format=answer_format)
            for result in extractor.stream("Yesterday Ada met Grace and Katherine."):
                print(answer_format, [(entity.type, entity.text) for entity in result.extraction.entities])


if __name__ == "__main__":
    if "GATEWAY_URL" in os.environ:
        main(os.environ["GATEWAY_URL"])
    else:
        with HTTPServer(("127.0.0.1", 0), ToyGateway) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            main(f"http://127.0.0.1:{server.server_port}")
            server.shutdown()
