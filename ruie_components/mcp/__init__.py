"""A pool as an MCP server: retrieve, extract, add_example and explain as tools of a model or an editor."""

try:
    import mcp  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'the MCP SDK can\'t be imported ({error}): pip install "ruie-components[mcp]"', name=error.name
    ) from error

from ruie_components.mcp.http import BearerTokenMiddleware, http_app, serve_http
from ruie_components.mcp.server import create_server

__all__ = ["BearerTokenMiddleware", "create_server", "http_app", "serve_http"]
