"""An HTTP server on the loopback interface, for servers of tests that speak a model server's protocol."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):  # a client that hung up is what some tests are about
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """A handler of requests that logs none."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


class LoopbackServer:
    """Serves within a ``with`` block.

    Args:
        handler: The class of its handlers, which get the server itself as ``served``.
    """

    def __init__(self, handler: type[Handler]) -> None:
        self._http = _Http(("127.0.0.1", 0), type(handler.__name__, (handler,), {"served": self}))
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
