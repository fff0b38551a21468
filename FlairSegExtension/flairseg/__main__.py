"""``python -m flairseg``: the command line without an installed script."""

from __future__ import annotations

from .cli import app

if __name__ == "__main__":
    app(prog_name="flairseg")
