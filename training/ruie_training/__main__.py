"""``python -m ruie_training`` is ``ruie train``, for torchrun and accelerate launch."""

from __future__ import annotations

import sys

import typer

from ruie_components.errors import RuieError
from ruie_training.cli.train import train_app


def main() -> None:
    """Run it; exit status 0: done, 1: the work failed, 2: usage error."""
    try:
        train_app()
    except (RuieError, ImportError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
