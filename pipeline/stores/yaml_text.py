"""YAML as people type it, read strictly: no key is there twice, and nothing grows beyond measure.

YAML itself lets the last of two equal keys win, so that a second ``sessions:`` would drop all sessions in
silence, lets a few lines of references stand for billions of values, and reads 010 as 8 and 1:30 as 90.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_REPEATED = 10_000
"""Values that references (``*name``) may add to those that are written out."""

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT = "tag:yaml.org,2002:str"
_NUMBERS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
_OLD_NUMBER = re.compile(r"[-+]?0[0-7_]*[1-7][0-7_]*|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_MERGE = "tag:yaml.org,2002:merge"


def load_yaml(text: str) -> Any:
    r"""Return what a YAML text holds.

    Raises
    ------
    yaml.YAMLError
        If it is none, a key is there twice in one mapping, references repeat themselves into more than
        `MOST_REPEATED` values, or a value cannot be represented; each with its line.

    Examples
    --------
    >>> load_yaml("a: 1\nb: [2, 3]\n")
    {'a': 1, 'b': [2, 3]}
    >>> load_yaml("a: 1\nb: 2\na: 3\n")
    Traceback (most recent call last):
        ...
    yaml.constructor.ConstructorError: the key 'a' is there twice: first in line 1
      in "<unicode string>", line 3, column 1
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - it is a safe loader
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise yaml.YAMLError(f"line {line} holds half a character: {error.reason}") from error


class _StrictLoader(_BASE):  # type: ignore[misc] # what it is, depends on how yaml was built
    """The safe loader, which looks at the whole document before it makes anything of it."""

    def get_single_node(self) -> Node | None:
        node: Node | None = super().get_single_node()
        if node is not None:
            _refuse_bombs(node)
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - as inherited
        try:
            if isinstance(node, MappingNode):
                self._refuse_twice(node)
            _refuse_old_numbers(node)
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            # A number of thousands of digits, the 31st of February.
            found = str(getattr(node, "value", ""))[:40]
            raise ConstructorError(
                None, None, f"{found!r} cannot be read: {error}", node.start_mark
            ) from error

    def _refuse_twice(self, node: MappingNode) -> None:
        first: dict[object, Node] = {}
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or key.tag == _MERGE:
                continue
            # 1 and 0x1, and yes and true, are one key.
            value = key.value if key.tag == _TEXT else super().construct_object(key)
            said = first.setdefault((key.tag, value), key)
            if said is not key:
                raise ConstructorError(
                    None,
                    None,
                    f"the key {key.value!r} is there twice: first in line {said.start_mark.line + 1}",
                    key.start_mark,
                )


def _refuse_old_numbers(node: Node) -> None:
    """Refuse numbers that YAML 1.1 reads in base 8 or 60, and nobody else does: 010 is 8, 1:30 is 90."""
    if not (isinstance(node, ScalarNode) and node.tag in _NUMBERS and _OLD_NUMBER.fullmatch(node.value)):
        return
    base, plain = ("60", "in base 10") if ":" in node.value else ("8", "without zeros at its beginning")
    raise ConstructorError(
        None,
        None,
        f"{node.value} is a number in base {base} to YAML: write it {plain}, or in quotes if it is text",
        node.start_mark,
    )


def _refuse_bombs(root: Node) -> None:
    """Refuse a document that holds itself, or much more once its references are written out."""
    sizes: dict[int, int] = {}
    for node in _children_first(root):
        size = 1
        for child in _children(node):
            if id(child) not in sizes:
                raise ConstructorError(None, None, "it holds a reference to itself", node.start_mark)
            size += sizes[id(child)]
        sizes[id(node)] = size
        if size > len(sizes) + MOST_REPEATED:
            raise ConstructorError(
                None,
                None,
                f"its references repeat themselves into more than {MOST_REPEATED:,} values: write out what "
                "is meant",
                node.start_mark,
            )


def _children(node: Node) -> Iterable[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, SequenceNode) else ()


def _children_first(root: Node) -> Iterator[Node]:
    """Yield every node once, those within it before it, without recursion: text may be nested deeply."""
    seen = {id(root)}
    todo = [(root, iter(_children(root)))]
    while todo:
        node, rest = todo[-1]
        child = next(rest, None)
        if child is None:
            todo.pop()
            yield node
        elif id(child) not in seen:
            seen.add(id(child))
            todo.append((child, iter(_children(child))))
