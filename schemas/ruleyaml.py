"""Reading a rule file's YAML so that nothing is guessed: every scalar stays the text that was written, with its line.

YAML's own types would turn 7.5 into a float, 010 into 8, 21:00 into 1260 and `no` into False. Here a scalar is text
(`Plain` where it was written without quotes) and the model says what it has to be. Keys that come twice are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Where = tuple[str | int, ...]


MOST_NODES = 50_000  # aliases may make a small file endless


class Problem(NamedTuple):
    """One thing to say about a rule file: `line` from 1 (0: the file as a whole), `place` the field's path (may be '')."""

    line: int
    place: str
    reason: str

    @property
    def text(self) -> str:
        return f"{self.place}: {self.reason}" if self.place else self.reason


class RuleError(ValueError):
    """A rule file that is refused: `path`, and `line` and `reason` of the first of its `problems`, which are all there are."""

    def __init__(self, path: Path | str, line: int, reason: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path = str(path)
        self.line = line
        self.reason = reason
        self.problems = tuple(problems) or (Problem(line, "", reason),)

    @property
    def everything(self) -> str:
        """All problems, one a line, each with path and line."""
        return "\n".join(f"{self.path}:{one.line}: {one.text}" for one in self.problems)


def place_of(where: Where) -> str:
    """A field's path as people read it: `scoring.online.items.0.points`."""
    return ".".join(map(str, where))


class Plain(str):
    """A scalar written without quotes: it may be a number, a yes/no or text."""

    __slots__ = ()


class Document:
    """A YAML file as dicts, lists and text; `line(where)` is the line of the nearest thing on the way to `where`.

    `problems` are keys that come twice (the first holds) or are no text. Raises RuleError where the text is not YAML at all.
    """

    def __init__(self, path: Path | str, text: str) -> None:
        self.path = str(path)
        self._lines: dict[Where, int] = {(): 1}
        self._nodes = 0
        self.problems: list[Problem] = []
        try:
            node = yaml.compose(text, Loader=yaml.BaseLoader)
            self.value = self._build(node, (), 0) if node is not None else None
        except RecursionError as error:  # PyYAML's own, before there is a node whose depth could be looked at
            raise RuleError(path, 1, "nested deeper than 32") from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            reason = " ".join(part for part in (error.problem, error.context) if part)
            raise RuleError(path, mark.line + 1 if mark else 0, f"not YAML: {reason}") from error
        except yaml.YAMLError as error:
            raise RuleError(path, 0, f"not YAML: {error}") from error

    def line(self, where: Where) -> int:
        """Parts of `where` that the file does not have (a missing key, a union's tag) are passed over."""
        found: Where = ()
        for part in where:
            if (*found, part) in self._lines:
                found = (*found, part)
        return self._lines[found]

    def _build(self, node: Node, where: Where, depth: int) -> object:
        if depth > 32:
            raise RuleError(self.path, node.start_mark.line + 1, "nested deeper than 32")
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise RuleError(self.path, node.start_mark.line + 1, f"more than {MOST_NODES} values")
        self._lines.setdefault(where, node.start_mark.line + 1)
        if isinstance(node, MappingNode):
            mapping: dict[str, object] = {}
            for key_node, value_node in node.value:
                line = key_node.start_mark.line + 1
                if not isinstance(key_node, ScalarNode):
                    self.problems.append(Problem(line, place_of(where), "a key must be text"))
                    continue
                key = str(key_node.value)
                if key in mapping:
                    first = self._lines[(*where, key)]
                    self.problems.append(Problem(line, place_of((*where, key)), f"comes twice, first in line {first}"))
                    continue
                self._lines[(*where, key)] = line
                mapping[key] = self._build(value_node, (*where, key), depth + 1)
            return mapping
        if isinstance(node, SequenceNode):
            return [self._build(item, (*where, index), depth + 1) for index, item in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        text = str(node.value)
        if node.style is not None:
            return text
        return None if text in ("", "~", "null") else Plain(text)


def read_document(path: Path) -> Document:
    """Raises RuleError where the file can't be read, is not UTF-8 or not YAML."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise RuleError(path, 0, f"can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RuleError(path, 0, f"not UTF-8 at byte {error.start}") from error
    return Document(path, text)
