"""Where the command line writes: results to standard output, everything else to standard error."""

from rich.console import Console

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)
