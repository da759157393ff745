"""``ruie serve``: serves a pool to other programs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ruie_components.cli.console import errors
from ruie_components.cli.options import (
    EncoderOption,
    K,
    MaxTokens,
    Method,
    ModelName,
    ModelOptions,
    Pool,
    StorePath,
    TaskOption,
    chat_model,
    opened,
    selector,
)


class Transport(StrEnum):
    """The transport between clients and server."""

    STDIO = "stdio"
    HTTP = "http"


def serve(
    mcp: Annotated[bool, typer.Option("--mcp", help="Serve the Model Context Protocol.")] = False,
    transport: Annotated[
        Transport, typer.Option(help="stdio: a client starts this command. http: streamable HTTP, at /mcp.")
    ] = Transport.STDIO,
    host: Annotated[
        str, typer.Option(help="Address to listen on; except on loopback a token is required.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = 8321,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="RUIE_TOKEN",
            help="Bearer token of clients. Prefer RUIE_TOKEN: other users can see arguments.",
            show_default=False,
        ),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Leave out the tool that adds examples.")] = False,
    model: ModelName = None,
    model_option: ModelOptions = None,
    store: StorePath = None,
    pool: Pool = "default",
    task: TaskOption = None,
    k: K = None,
    method: Method = None,
    max_tokens: MaxTokens = None,
    encoder: EncoderOption = None,
) -> None:
    """Serve a pool and a chat model over MCP, with the tools retrieve, extract, add_example and explain.

    For example, as the command of an MCP client: ruie serve --mcp --store pool --model ollama:llama3.1:8b
    """
    if not mcp:
        raise typer.BadParameter("give --mcp; it is the only protocol so far", param_hint="--mcp")
    from ruie_components.extraction import Extractor
    from ruie_components.mcp import create_server, serve_http

    with opened(store, pool, encoder) as source:
        extractor = Extractor(
            source,
            chat_model(model, model_option),
            k=k,
            selector=selector(method),
            task=task,
            max_tokens=max_tokens,
        )
        server = create_server(extractor, read_only=read_only)
        if transport is Transport.STDIO:
            server.run("stdio")
            return
        serve_http(server, host, port, token, announce=_announce)


def _announce(url: str) -> None:
    errors.print(f"MCP server on {url}; end it with Ctrl+C", markup=False, soft_wrap=True)
