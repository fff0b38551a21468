"""``--config FILE``: options of a command from a TOML or JSON file; the command line takes precedence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def read_config(path: Path) -> dict[str, Any]:
    """The options in a file, by their names on the command line.

    Parameters
    ----------
    path : Path
        ``.json``, or TOML.

    Raises
    ------
    ValueError
        If it cannot be read or contains something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}.") from error
    if path.suffix.lower() == ".json":
        content = json.loads(text)
    else:
        try:
            import tomllib
        except ImportError as error:
            raise ValueError(f"{path.name} is TOML, which needs Python 3.11; write it as .json.") from error
        content = tomllib.loads(text)
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} contains no table of options.")
    return content


def _use(context: typer.Context, path: Path | None) -> Path | None:
    """Make the options of a file the defaults of the command; unknown ones are an error."""
    if path is None:
        return None
    try:
        content = read_config(path)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    parameters = context.command.params
    known = {p.name or "": p for p in parameters}
    # An option's own name takes precedence over another one's variable.
    known |= {name.lstrip("-").replace("-", "_"): p for p in parameters for name in p.opts}
    # Options may be in a table named like the command.
    own = content.get(context.command.name or "")
    content = own if isinstance(own, dict) else content
    defaults: dict[str, Any] = {}
    for name, value in content.items():
        parameter = known.get(str(name).replace("-", "_"))
        if parameter is None or parameter.name in (None, "config"):
            raise typer.BadParameter(f"{path.name} names an option that this command does not have: {name}.")
        defaults[str(parameter.name)] = value
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Options of this command in a TOML or JSON file, by their long names; the command line takes precedence.",
        show_default=False,
        callback=_use,
        is_eager=True,
    ),
]
