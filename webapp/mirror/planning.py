# SPDX-License-Identifier: Apache-2.0
"""Which files of a stream a mirror shall hold. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from webapp.mirror.model import MirrorProblem, WantedFile
from webapp.streams.documents import Product, ProductsDocument
from webapp.streams.filters import Filter, file_fields

STATE_FOLDER = ".slipway"


def wanted_files(
    documents: Iterable[ProductsDocument],
    filters: Sequence[Filter],
    max_versions: int,
    *,
    document_paths: Collection[str],
) -> list[WantedFile]:
    """The files that pass all filters, of each product's newest ``max_versions`` (0: all).

    A version of which no file passes does not count. Raises MirrorProblem
    (mirror-bad-path) for files that would overwrite each other or our own ones.
    """
    wanted: dict[str, WantedFile] = {}
    for document in documents:
        for product in document.products:
            for file in _of_product(document, product, filters, max_versions):
                if wanted.setdefault(file.path, file) != file:
                    raise _bad_path(file.path, "two different files have this path")
    reserved = {STATE_FOLDER, *document_paths}
    for path in wanted:
        if path in reserved or path.split("/", 1)[0] == STATE_FOLDER:
            raise _bad_path(path, "the mirror itself needs this path")
    return list(wanted.values())


def _of_product(
    document: ProductsDocument, product: Product, filters: Sequence[Filter], max_versions: int
) -> Iterator[WantedFile]:
    count = 0
    for version in product.versions:
        files = [
            WantedFile(item.path, item.size, item.sha256)
            for item in version.items
            if item.path
            and all(f.matches(file_fields(document, product, version, item)) for f in filters)
        ]
        if files:
            yield from files
            count += 1
            if count == max_versions:
                return


def _bad_path(path: str, flaw: str) -> MirrorProblem:
    return MirrorProblem(
        "The stream can't be stored as files.",
        code="mirror-bad-path",
        where=path,
        expected="a path of its own for each file",
        got=flaw,
        next_step="Contact the publisher of the stream. Nothing was changed.",
    )
