"""A group whose commands get their options built when they are called or listed: a call needs those of one command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import suppress
from typing import Any, TypeVar

import typer
from typer.core import TyperGroup
from typer.main import get_command

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Options whose empty value means something, or is refused in words of its own.
_MAY_BE_EMPTY = ("--dashboard", "--name")


class Commands(MutableMapping[str, Any]):
    """Commands by name, each made by Typer when it is first looked up.

    Values are what Typer makes of a :class:`typer.Typer`: its own commands, or Click's in versions that use Click.
    """

    def __init__(self) -> None:
        self._declared: dict[str, typer.Typer] = {}
        self._built: dict[str, Any] = {}

    def command(self, **options: Any) -> Callable[[_Function], _Function]:
        """Decorator that declares a function as a command of its name; options as of ``typer.Typer.command``."""

        def declared(function: _Function) -> _Function:
            alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
            self._declared[function.__name__] = alone
            return alone.command(**options)(function)

        return declared

    def add_typer(self, name: str, group: typer.Typer) -> None:
        """Declare a group of commands."""
        self._declared[name] = group

    def group_class(self) -> type[TyperGroup]:
        """The class of a group that has these commands and no others, for ``typer.Typer(cls=...)``."""
        declared = self

        class Group(TyperGroup):
            def __init__(self, **options: Any) -> None:
                super().__init__(**options)
                self.commands = declared

            def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
                _refuse_empty(args)
                return super().parse_args(ctx, args)

            def invoke(self, ctx: Any) -> Any:
                try:
                    return super().invoke(ctx)
                except BrokenPipeError:
                    # The reader of a pipe left: Typer ends quietly.
                    raise
                except OSError as error:
                    # Of a command's own output, above all: a log on a full disk.
                    from ..errors import typed
                    from .console import REFUSED, messages_console, show_error

                    with suppress(OSError):
                        show_error(messages_console(), typed(error))
                    raise typer.Exit(REFUSED) from error

        return Group

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = get_command(self._declared[name])
            self._built[name].name = name
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._declared.pop(name, None)
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        known = self._built.pop(name, None) is not None
        if self._declared.pop(name, None) is None and not known:
            raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._declared, *self._built]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    @property
    def built(self) -> tuple[str, ...]:
        """Names of the commands whose options have been built."""
        return tuple(self._built)


def _refuse_empty(args: list[str]) -> None:
    """Refuse empty arguments, which a shell makes of variables that are not set: as a path they are the current folder.

    Raises
    ------
    typer.BadParameter
    """
    for before, argument in zip(["", *args], args, strict=False):
        option, equals, value = argument.partition("=") if argument.startswith("--") else (before, "", argument)
        if not value and (equals or not argument) and option not in _MAY_BE_EMPTY:
            where = f" of {option}" if option.startswith("-") else ""
            raise typer.BadParameter(f"An argument{where} is empty: a variable of the shell that is not set?")
