"""Mutants of the package: random selection, and replacement of code in a running process."""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import random
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "FlairSegExtension/flairseg"
#: Operators that give equivalent mutants.
_SAME = ("Is_Eq", "Eq_Is", "IsNot_NotEq", "NotEq_IsNot")


@dataclass
class Mutant:
    """A change of a file: the ``nth`` occurrence (from 0) of the lines ``before`` is replaced by ``after``."""

    group: str
    module: str
    line: int
    operator: str
    before: str
    after: str
    nth: int = 0
    outcome: str = ""
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Import name of the module."""
        return "flairseg." + self.module.removesuffix(".py").replace("/", ".")

    @property
    def key(self) -> tuple:
        """Identity of the mutant."""
        return self.group, self.module, self.line, self.before, self.after, self.nth

    def apply(self, code: str) -> str | None:
        """Changed code; None if the lines no longer exist."""
        at = -1
        for _ in range(self.nth + 1):
            at = code.find(self.before, at + 1)
            if at < 0:
                return None
        return code[:at] + self.after + code[at + len(self.before) :]


def _annotations(node: object) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Start and end of each type annotation below a parso node."""
    for child in getattr(node, "children", ()):
        kind = child.type
        if kind == "annassign":
            part = child.children[1]
            yield part.start_pos, part.end_pos
        elif kind == "tfpdef":
            yield child.children[-1].start_pos, child.children[-1].end_pos
        elif kind == "funcdef" and child.annotation is not None:
            yield child.annotation.start_pos, child.annotation.end_pos
        yield from _annotations(child)


def places_of(code: str) -> dict[tuple[int, int], list[tuple[str, int]]]:
    """Position (line, column) -> operators that change it, with their occurrence numbers."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    tree = get_ast(code)
    nodes, hidden = list(ast_nodes(tree)), list(_annotations(tree))
    found: dict[tuple[int, int], list[tuple[str, int]]] = {}
    for name in operator_names():
        operator_class = get_operator(name)
        if operator_class.arguments() or name.endswith(_SAME):
            continue
        operator = operator_class()
        starts = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, start in enumerate(starts):
            if not any(low <= start < high for low, high in hidden):
                found.setdefault(start, []).append((name, occurrence))
    return found


def make(group: str, module: str, code: str, name: str, occurrence: int) -> Mutant | None:
    """Make a mutant of a module; None if the operator changes nothing."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    try:
        changed = mutate_code(code, get_operator(name)(), occurrence)
    except AttributeError:  # ExceptionReplacer of Cosmic Ray at a dotted name
        return None
    return None if changed is None or changed == code else _mutant(group, module, code, changed, name)


def _mutant(group: str, module: str, code: str, changed: str, operator: str) -> Mutant:
    old, new = code.splitlines(keepends=True), changed.splitlines(keepends=True)
    blocks = [b for b in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if b[0] != "equal"]
    first, last = blocks[0][1], max(blocks[-1][2], blocks[0][1] + 1)
    before = "".join(old[first:last])
    after = "".join(new[first : last + len(new) - len(old)])
    nth = "".join(old[:first]).count(before)
    return Mutant(group, module, first + 1, operator.rpartition("/")[2], before, after, nth)


def draw(group: str, modules: Iterable[str], number: int, seed: int) -> list[Mutant]:
    """Draw ``number`` mutants of modules of the package at different positions."""
    codes = {module: (ROOT / PACKAGE / module).read_text(encoding="utf-8") for module in modules}
    places = [(m, place, makers) for m, code in codes.items() for place, makers in sorted(places_of(code).items())]
    chance = random.Random(seed)
    chance.shuffle(places)
    drawn: list[tuple[str, tuple[int, int], Mutant]] = []
    for module, place, makers in places:
        if len(drawn) == number:
            break
        mutant = make(group, module, codes[module], *chance.choice(makers))
        if mutant is not None:
            drawn.append((module, place, mutant))
    return [mutant for _, _, mutant in sorted(drawn, key=lambda found: found[:2])]


# --- the changed code in a process


def function_at(code: str, line: int) -> list[str]:
    """Names from the module to the outermost function whose body contains a line; empty outside functions."""
    path: list[str] = []
    inside: ast.AST = ast.parse(code)
    while not isinstance(inside, ast.FunctionDef):
        nodes = (n for n in inside.body if isinstance(n, (ast.ClassDef, ast.FunctionDef)))
        inside = next((n for n in nodes if n.body[0].lineno <= line <= n.end_lineno), None)
        if inside is None:
            return []
        path.append(inside.name)
    return path


def statement_at(code: str, line: int) -> range:
    """Lines of the smallest statement that contains a line; of a compound statement, its header."""
    found = range(line, line + 1)
    for node in ast.walk(ast.parse(code)):  # parents come first
        if isinstance(node, ast.stmt) and node.lineno <= line <= node.end_lineno:
            body = getattr(node, "body", None)
            found = range(node.lineno, max(body[0].lineno, line + 1) if body else node.end_lineno + 1)
    return found


def swapped(mutant: Mutant, code: str, changed: str) -> tuple[FunctionType, CodeType] | None:
    """Imported function that contains a mutant, and its code in the mutant; None outside functions."""
    path = function_at(code, mutant.line)
    if not path:
        return None
    found = importlib.import_module(mutant.name)
    for name in path:
        found = vars(found)[name]
    found = getattr(found, "fget", None) or getattr(found, "func", None) or getattr(found, "__func__", found)
    found = inspect.unwrap(found)
    compiled = compile(changed, found.__code__.co_filename, "exec", dont_inherit=True)
    for name in path:
        parts = [c for c in compiled.co_consts if isinstance(c, CodeType) and c.co_name == name]
        if len(parts) != 1:
            return None
        compiled = parts[0]
    return (found, compiled) if compiled.co_freevars == found.__code__.co_freevars else None


def rebind(mutant: Mutant, changed: str) -> None:
    """Replace the constants of a mutant's module in all modules of this process that hold them."""
    module = importlib.import_module(mutant.name)
    fresh = {key: vars(module)[key] for key in ("__name__", "__package__", "__file__", "__spec__", "__loader__")}
    exec(compile(changed, module.__file__, "exec", dont_inherit=True), fresh)
    for name, value in fresh.items():
        before = vars(module).get(name)
        if name.startswith("__") or callable(value) or inspect.ismodule(value) or repr(value) == repr(before):
            continue
        for other in list(sys.modules.values()):
            if other is not None and vars(other).get(name) is before:
                setattr(other, name, value)
