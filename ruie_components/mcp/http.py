"""The server over HTTP: open on loopback, elsewhere protected by a bearer token."""

from __future__ import annotations

import hmac
import socket
from collections.abc import Callable
from typing import Any

from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ruie_components.errors import RuieError
from ruie_components.hosts import is_loopback

MIN_TOKEN_LENGTH = 16


class BearerTokenMiddleware:
    """Passes requests with ``Authorization: Bearer TOKEN``; others get status 401.

    Args:
        app: The wrapped application.
        token: The token.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan" or self._is_authorized(scope):
            await self._app(scope, receive, send)
            return
        response = JSONResponse(
            {"error": "this server needs a token: send it as Authorization: Bearer TOKEN"},
            status_code=401,
            headers={"WWW-Authenticate": "Bearer"},
        )
        await response(scope, receive, send)

    def _is_authorized(self, scope: Scope) -> bool:
        given = [value for name, value in scope.get("headers", ()) if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._expected)


def http_app(server: MCPServer[Any], host: str = "127.0.0.1", token: str | None = None) -> ASGIApp:
    """The ASGI application of a server, at ``/mcp``.

    On loopback, requests with a different ``Host`` or ``Origin`` are refused, so that no web page in a browser can
    reach the server.

    Args:
        server: From ``create_server``.
        host: The address to listen on.
        token: The bearer token of requests. Required unless ``host`` is a loopback address.

    Raises:
        RuieError: The token is missing or too short.
    """
    if token is None and not is_loopback(host):
        raise RuieError(
            f"a server on {host} can be reached from other machines, so it needs a token of at least "
            f"{MIN_TOKEN_LENGTH} characters: set RUIE_TOKEN, or listen on 127.0.0.1"
        )
    if token is not None and (len(token) < MIN_TOKEN_LENGTH or not token.isascii() or not token.isprintable()):
        raise RuieError(f"the token must have at least {MIN_TOKEN_LENGTH} printable ASCII characters")
    app = server.streamable_http_app(host=host, transport_security=_transport_security(host))
    return BearerTokenMiddleware(app, token) if token is not None else app


def _transport_security(host: str) -> TransportSecuritySettings:
    if not is_loopback(host):  # the names of this machine are unknown here; the token protects the server
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    name = f"[{host.strip('[]')}]" if ":" in host else host
    hosts = [f"{each}:*" for each in dict.fromkeys(("127.0.0.1", "localhost", "[::1]", name))]
    return TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=[f"http://{each}" for each in hosts])


def serve_http(
    server: MCPServer[Any],
    host: str = "127.0.0.1",
    port: int = 8321,
    token: str | None = None,
    *,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve until the process is interrupted. Arguments as in ``http_app``.

    Args:
        server: From ``create_server``.
        host: The address to listen on.
        port: The port.
        token: The bearer token of requests.
        announce: Called with the server's URL once the port is open.

    Raises:
        RuieError: As in ``http_app``, or the address or the port can't be used.
    """
    import uvicorn

    app = http_app(server, host, token)
    host = host.strip("[]")
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/mcp"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise RuieError(f"cannot listen on {host}, port {port}: {error.strerror or error}; give another") from error
    with listening:
        if announce:
            announce(url)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listening])
