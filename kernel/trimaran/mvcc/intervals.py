"""A map from half-open key intervals to values that answers which intervals hold a key, in O(log n + found).

An AVL tree ordered by (start, end), where each node knows the greatest end below it. Balanced by height rather than by
chance, because clients choose the intervals. Pure; the values are the caller's.
Source: Cormen et al., Introduction to Algorithms, "Interval trees".
"""

from __future__ import annotations

from typing import Generic, TypeVar

V = TypeVar("V")


class _Node(Generic[V]):
    __slots__ = ("end", "end_max", "height", "left", "right", "start", "value")

    def __init__(self, start: bytes, end: bytes, value: V) -> None:
        self.start = start
        self.end = end
        self.value = value
        self.left: _Node[V] | None = None
        self.right: _Node[V] | None = None
        self.height = 1
        self.end_max = end


class IntervalMap(Generic[V]):
    """At most one value for each [start, end)."""

    def __init__(self) -> None:
        self._root: _Node[V] | None = None
        self._len = 0

    def __len__(self) -> int:
        return self._len

    def add(self, start: bytes, end: bytes, value: V) -> None:
        """Add an interval that is not there yet."""
        self._root = _insert(self._root, _Node(start, end, value))
        self._len += 1

    def remove(self, start: bytes, end: bytes) -> None:
        """Raises KeyError where there is no such interval."""
        self._root = _remove(self._root, (start, end))
        self._len -= 1

    def stab(self, key: bytes) -> list[V]:
        """Values of the intervals that hold the key, in an order that depends on what was added and removed alone."""
        found: list[V] = []
        stack = [self._root]
        while stack:
            node = stack.pop()
            if node is None or node.end_max <= key:
                continue
            if node.start <= key:
                if key < node.end:
                    found.append(node.value)
                stack.append(node.right)
            stack.append(node.left)
        return found


def _height(node: _Node[V] | None) -> int:
    return node.height if node is not None else 0


def _update(node: _Node[V]) -> _Node[V]:
    left, right = node.left, node.right
    node.height = 1 + max(_height(left), _height(right))
    end_max = node.end
    if left is not None and left.end_max > end_max:
        end_max = left.end_max
    if right is not None and right.end_max > end_max:
        end_max = right.end_max
    node.end_max = end_max
    return node


def _rotate_right(node: _Node[V]) -> _Node[V]:
    top = node.left
    assert top is not None
    node.left, top.right = top.right, node
    _update(node)
    return _update(top)


def _rotate_left(node: _Node[V]) -> _Node[V]:
    top = node.right
    assert top is not None
    node.right, top.left = top.left, node
    _update(node)
    return _update(top)


def _balanced(node: _Node[V]) -> _Node[V]:
    lean = _height(node.left) - _height(node.right)
    if lean > 1:
        assert node.left is not None
        if _height(node.left.left) < _height(node.left.right):
            node.left = _rotate_left(node.left)
        return _rotate_right(node)
    if lean < -1:
        assert node.right is not None
        if _height(node.right.right) < _height(node.right.left):
            node.right = _rotate_right(node.right)
        return _rotate_left(node)
    return _update(node)


def _insert(node: _Node[V] | None, new: _Node[V]) -> _Node[V]:
    if node is None:
        return new
    if (new.start, new.end) < (node.start, node.end):
        node.left = _insert(node.left, new)
    else:
        node.right = _insert(node.right, new)
    return _balanced(node)


def _remove(node: _Node[V] | None, bounds: tuple[bytes, bytes]) -> _Node[V] | None:
    if node is None:
        raise KeyError(bounds)
    here = (node.start, node.end)
    if bounds < here:
        node.left = _remove(node.left, bounds)
    elif bounds > here:
        node.right = _remove(node.right, bounds)
    elif node.left is None:
        return node.right
    elif node.right is None:
        return node.left
    else:
        node.right, heir = _take_first(node.right)
        heir.left, heir.right = node.left, node.right
        node = heir
    return _balanced(node)


def _take_first(node: _Node[V]) -> tuple[_Node[V] | None, _Node[V]]:
    """The tree without its first node, and that node."""
    if node.left is None:
        return node.right, node
    node.left, first = _take_first(node.left)
    return _balanced(node), first
