"""A loopback server that speaks Ollama's documented wire protocol, with the copying baseline as its language model.

Served: POST /api/chat (streaming and not; options, format, keep_alive), POST /api/show, GET /api/tags,
GET /api/version. As in Ollama, ``stream`` is true unless said otherwise, an unknown model is a 404 with ``error``, a
context of 4,096 tokens holds unless ``num_ctx`` says otherwise, a longer one than the model's is the model's, and a
prompt that doesn't fit loses its oldest messages, and the front of the last one, without a word.
"""

import json
import re
import time
from typing import Any

from ruie_components.chat.baseline import copy_answer

from ..loopback import Handler, LoopbackServer

VERSION = "0.12.11"
_TOKEN = r"\w+|[^\w\s]"
_NOW = "2026-01-01T00:00:00.000000Z"


class OllamaServer(LoopbackServer):
    """``with OllamaServer({"tiny:1b": 8192}) as server`` serves models, given with the context each was made for.

    All are of the family "llama", unless ``families`` says otherwise.
    """

    def __init__(self, models: dict[str, int], families: dict[str, str] | None = None) -> None:
        self.models = models
        self.families = families or {}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        """``(path, body)`` of every request so far."""
        self.failures: list[int] = []
        """Status codes with which the next chat requests fail."""
        self.silence = 0.0
        """Seconds before a chat request is answered."""
        self.answer = lambda body: copy_answer(transcript(body["messages"]))
        super().__init__(_Handler)

    @property
    def chats(self) -> list[dict[str, Any]]:
        """The bodies of the chat requests so far."""
        return [body for path, body in self.requests if path == "/api/chat"]

    def fitted(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The messages that fit the context: the oldest go first, and of the last one the front if it must be."""
        context = min((body.get("options") or {}).get("num_ctx", 4096), self.models[body["model"]])
        messages = list(body["messages"])
        while sum(map(tokens, messages)) > context:
            cut = next((at for at, one in enumerate(messages[:-1]) if one["role"] != "system"), None)
            if cut is None:
                return [*messages[:-1], cut_at_the_front(messages[-1], sum(map(tokens, messages)) - context)]
            del messages[cut]
        return messages


def tokens(message: dict[str, Any]) -> int:
    """A made-up tokenizer's count: words and signs, and what a template adds."""
    return len(re.findall(_TOKEN, message["content"])) + 3


def cut_at_the_front(message: dict[str, Any], excess: int) -> dict[str, Any]:
    starts = [word.start() for word in re.finditer(_TOKEN, message["content"])]
    return {**message, "content": message["content"][starts[excess] :] if excess < len(starts) else ""}


def transcript(messages: list[dict[str, Any]]) -> str:
    return "".join((" " if one["role"] == "assistant" else "\n\n") + one["content"] for one in messages)


class _Handler(Handler):
    served: OllamaServer

    def do_GET(self) -> None:  # noqa: N802  the name is that of http.server
        self.served.requests.append((self.path, {}))
        if self.path == "/api/version":
            self._send({"version": VERSION})
        elif self.path == "/api/tags":
            self._send({"models": [self._listed(name) for name in self.served.models]})
        else:
            self._send({"error": "not found"}, 404)

    def do_POST(self) -> None:  # noqa: N802  the name is that of http.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.served.requests.append((self.path, body))
        if "model" not in body:
            self._send({"error": "model is required"}, 400)
        elif self.path == "/api/chat" and self.served.failures:
            self._send({"error": "server busy, please try again"}, self.served.failures.pop(0))
        elif body["model"] not in self.served.models:
            self._send({"error": f"model '{body['model']}' not found"}, 404)
        elif self.path == "/api/show":
            self._send(self._shown(body["model"]))
        elif self.path == "/api/chat":
            self._chat(body)
        else:
            self._send({"error": "not found"}, 404)

    def _chat(self, body: dict[str, Any]) -> None:
        time.sleep(self.served.silence)
        messages = self.served.fitted(body)
        text = self.served.answer({**body, "messages": messages})
        pieces = re.findall(r"\S+\s*", text)
        limit = (body.get("options") or {}).get("num_predict", -1)
        reason = "length" if 0 <= limit < len(pieces) else "stop"
        pieces = pieces[:limit] if reason == "length" else pieces
        end = {
            "done": True,
            "done_reason": reason,
            "total_duration": 2_000_000,
            "load_duration": 500_000,
            "prompt_eval_count": sum(map(tokens, messages)),
            "prompt_eval_duration": 500_000,
            "eval_count": len(pieces),
            "eval_duration": 1_000_000,
        }
        if body.get("stream", True):
            self._send_lines(
                [{**self._said(body, piece), "done": False} for piece in pieces] + [self._said(body) | end]
            )
        else:
            self._send(self._said(body, "".join(pieces)) | end)

    @staticmethod
    def _said(body: dict[str, Any], content: str = "") -> dict[str, Any]:
        return {"model": body["model"], "created_at": _NOW, "message": {"role": "assistant", "content": content}}

    def _listed(self, name: str) -> dict[str, Any]:
        family = self.served.families.get(name, "llama")
        about = {"format": "gguf", "family": family, "parameter_size": "1B", "quantization_level": "Q4_K_M"}
        return {"name": name, "model": name, "modified_at": _NOW, "size": 1, "digest": "0" * 64, "details": about}

    def _shown(self, name: str) -> dict[str, Any]:
        about = {"general.architecture": "llama", "llama.context_length": self.served.models[name]}
        return {
            "details": self._listed(name)["details"],
            "model_info": about,
            "capabilities": ["completion"],
            "template": "",
            "modified_at": _NOW,
        }

    def _send(self, value: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")  # LangChain's ChatOllama never closes its client
        self.end_headers()
        self.wfile.write(data)

    def _send_lines(self, values: list[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        for value in values:
            line = json.dumps(value).encode() + b"\n"
            self.wfile.write(f"{len(line):X}\r\n".encode() + line + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")
