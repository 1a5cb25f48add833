# SPDX-License-Identifier: Apache-2.0
"""Which files of a stream a mirror contains. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from webapp.mirror.model import MirrorProblem, WantedFile
from webapp.streams.documents import Product, ProductsDocument
from webapp.streams.filters import Filter, file_fields

STATE_FOLDER = ".slipway"
LOADER_KEY = "bootloader-type"
Passes = Callable[[Mapping[str, str]], bool]


def wanted_files(
    documents: Iterable[ProductsDocument],
    filters: Sequence[Filter],
    max_versions: int,
    *,
    document_paths: Collection[str],
    keeps_loaders: bool = True,
) -> list[WantedFile]:
    """The files that pass all filters, of each product's newest ``max_versions`` (0: all).

    keeps_loaders: boot loaders pass, too, unless no other file does or a filter is about
    them (rule: loaders-come-along). A version of which no file passes does not count.
    Raises MirrorProblem (mirror-bad-path) for files that would overwrite each other or
    our own ones.
    """
    documents = list(documents)
    wanted: dict[str, WantedFile] = {}
    _collect(
        wanted, documents, max_versions, lambda fields: all(f.matches(fields) for f in filters)
    )
    if wanted and keeps_loaders and not any(f.key == LOADER_KEY for f in filters):
        _collect(wanted, documents, max_versions, lambda fields: bool(fields.get(LOADER_KEY)))
    reserved = {STATE_FOLDER, *document_paths}
    for path in wanted:
        if path in reserved or path.split("/", 1)[0] == STATE_FOLDER:
            raise _bad_path(path, "the mirror itself needs this path")
    return list(wanted.values())


def _collect(
    wanted: dict[str, WantedFile],
    documents: Iterable[ProductsDocument],
    max_versions: int,
    passes: Passes,
) -> None:
    for document in documents:
        for product in document.products:
            for file in _of_product(document, product, passes, max_versions):
                if wanted.setdefault(file.path, file) != file:
                    raise _bad_path(file.path, "two different files have this path")


def _of_product(
    document: ProductsDocument, product: Product, passes: Passes, max_versions: int
) -> Iterator[WantedFile]:
    count = 0
    for version in product.versions:
        files = [
            WantedFile(item.path, item.size, item.sha256)
            for item in version.items
            if item.path and passes(file_fields(document, product, version, item))
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
