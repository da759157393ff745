"""A loopback server that speaks OpenAI's protocol, writes an answer slowly, and notes when a client hangs up."""

import json
import threading
from typing import Any

from ..loopback import Handler, LoopbackServer


class StreamingServer(LoopbackServer):
    """``with StreamingServer(["person: Ada; ", "place: Oslo"]) as server`` serves one model, ``slow``.

    Args:
        pieces: The answer. It is written piece by piece, and after the last one again from the first, without an end.
        pause: Seconds between two pieces.
        read: The tokens of prompts, as the server says it counts them. With it answers end after the last piece.
    """

    def __init__(self, pieces: list[str], pause: float = 0.02, read: int | None = None) -> None:
        self.pieces, self.pause, self.read = pieces, pause, read
        self.requests: list[dict[str, Any]] = []
        """The bodies of the chat requests so far."""
        self.hung_up = threading.Event()
        """Set when a client closes the connection of an answer that is being written."""
        self.ends = threading.Event()
        super().__init__(_Handler)
        self.url += "/v1"

    def __exit__(self, *error: object) -> None:
        self.ends.set()
        super().__exit__(*error)


class _Handler(Handler):
    served: StreamingServer

    def do_POST(self) -> None:  # noqa: N802  the name is that of http.server
        server = self.served
        server.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = 0
        try:
            while not server.ends.wait(server.pause):
                if server.read is not None and sent == len(server.pieces):
                    usage = {"prompt_tokens": server.read, "completion_tokens": sent}
                    usage["total_tokens"] = server.read + sent
                    self._send("", finish_reason="stop", usage=usage)
                    self._write(b"data: [DONE]\n\n")
                    self._write(b"")
                    break
                self._send(server.pieces[sent % len(server.pieces)])
                sent += 1
        except ConnectionError:
            server.hung_up.set()
        self.close_connection = True

    def _send(self, piece: str, finish_reason: str | None = None, **more: Any) -> None:
        choice = {"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": finish_reason}
        row = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "slow", "choices": [choice], **more}
        self._write(f"data: {json.dumps(row)}\n\n".encode())

    def _write(self, event: bytes) -> None:
        self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        self.wfile.flush()
