# SPDX-License-Identifier: Apache-2.0
"""A product document with one product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.unit.streams import shapes
from tests.unit.streams.shapes import Tree
from webapp.streams.documents import (
    ProductsDocument,
    parse_products,
)

NOBLE = shapes.kernel("noble", "amd64", "ga-24.04")
NAME = shapes.ubuntu_name(NOBLE)


def noble() -> Tree:
    return shapes.tree({NAME: shapes.ubuntu(NOBLE)})


def parse(tree: Any, where: str = "streams/v1/x.sjson") -> ProductsDocument:
    return parse_products(shapes.dump(tree), where=where)


def at(tree: Tree, *way: str) -> Tree:
    for step in way:
        tree = tree[step]
    return tree


def product_of(tree: Tree) -> Tree:
    return at(tree, "products", NAME)


def item_of(tree: Tree, ftype: str = "squashfs") -> Tree:
    return at(product_of(tree), "versions", "20250717", "items", ftype)


def product_change(**fields: Any) -> Callable[[Tree], Any]:
    return lambda tree: product_of(tree).update(fields)
