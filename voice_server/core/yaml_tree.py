"""YAML text in, a tree out in which every value knows its line.

Promises: safe scalars, lists and maps only; no tags, anchors, aliases or merge keys, so that a small file stays a small
tree; no key twice; bounded depth. All problems are returned, none is raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from voice_server.core.limits import ConfigLimits

_LIMITS = ConfigLimits()
_PREFIX = "tag:yaml.org,2002:"
_TEXT = _PREFIX + "str"
_TAGS = {_PREFIX + kind for kind in ("str", "int", "float", "bool", "null", "map", "seq")}


@dataclass(frozen=True, slots=True)
class Problem:
    line: int  # from 1
    where: str  # "backends.hibari.workers", or "" for the whole file
    text: str

    def __str__(self) -> str:
        return f"{self.line}: {self.where}: {self.text}" if self.where else f"{self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Node:
    line: int
    value: Any  # a scalar, a list of nodes, or a dict of nodes by key

    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


def read_tree(text: str) -> tuple[Node, list[Problem]]:
    """The tree of `text` and what is wrong with it. With a syntax problem the tree is empty."""
    try:
        problems = list(_refused(text))
        if problems:
            return _nothing(), problems
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        return _nothing(), [_syntax(error, text)]
    return (_convert(root, "", problems) if root else _nothing()), problems


def _nothing() -> Node:
    return Node(line=1, value={})


def _refused(text: str) -> Iterator[Problem]:
    """What must not even be composed, because composing is recursive and aliases multiply."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = _line(event)
        if getattr(event, "anchor", None) is not None:
            yield Problem(line, "", "anchors and aliases (& and *) are not allowed: write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _LIMITS.depth:
            yield Problem(line, "", f"nested deeper than {_LIMITS.depth} levels")
            return


def _syntax(error: yaml.YAMLError, text: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return Problem(error.problem_mark.line + 1, "", str(error.problem))
    position = getattr(error, "position", 0)  # of a character that YAML forbids
    return Problem(text.count("\n", 0, position) + 1, "", "holds a character that YAML does not allow")


def _convert(node: yaml.Node, where: str, problems: list[Problem]) -> Node:
    if node.tag not in _TAGS:
        problems.append(
            Problem(
                _line(node),
                where,
                f"a {node.tag.removeprefix(_PREFIX)!r:.40} is not allowed here: quote it if it is text",
            )
        )
        return Node(_line(node), None)
    if isinstance(node, yaml.MappingNode):
        return Node(_line(node), _mapping(node, where, problems))
    if isinstance(node, yaml.SequenceNode):
        items = [_convert(item, f"{where}[{index}]", problems) for index, item in enumerate(node.value)]
        return Node(_line(node), items)
    return Node(_line(node), _scalar(node, where, problems))


def _mapping(node: yaml.MappingNode, where: str, problems: list[Problem]) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for key_node, value_node in node.value:
        key = key_node.value
        if key_node.tag != _TEXT:
            problems.append(Problem(_line(key_node), where, f"the key {key!r:.40} is not text: quote it"))
            continue
        path = f"{where}.{key}" if where else key
        if key in found:
            problems.append(Problem(_line(key_node), path, f"was given already, in line {found[key].line}"))
        found[key] = _convert(value_node, path, problems)
    return found


def _scalar(node: yaml.Node, where: str, problems: list[Problem]) -> object:
    try:
        value: object = yaml.constructor.SafeConstructor().construct_object(node)
    except (ValueError, OverflowError):
        problems.append(Problem(_line(node), where, "is not a number that can be read"))
        return None
    return value


def _line(item: yaml.Node | yaml.Event) -> int:
    return item.start_mark.line + 1 if item.start_mark else 1
