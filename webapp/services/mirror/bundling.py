# SPDX-License-Identifier: Apache-2.0
"""What the region holds as a bundle, for a site without a network (rule: carried-bundles)."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from webapp.bundle import manifest as manifests
from webapp.bundle.manifest import BundleProblem, Manifest, Member
from webapp.bundle.writing import Folder
from webapp.extensions import db, store
from webapp.models import (
    Blob,
    BlobState,
    BootResource,
    ImageRestriction,
    ResourceFile,
    ResourceSet,
    Setting,
)
from webapp.services.images.fetching import Fetches
from webapp.services.images.published import IS_KEPT_TO
from webapp.services.mirror import keys, offering, options
from webapp.services.mirror.keys import Signer
from webapp.services.mirror.offering import Offered
from webapp.services.mirror.options import Options
from webapp.services.system import events, statements
from webapp.streams.filters import Filter, file_fields
from webapp.streams.model import INDEX_PATH, Product
from webapp.streams.writing import write_index, write_products

_LOADER_KEY = "bootloader-type"
_DATED = "mirror_bundled"  # the setting that has the date of the newest bundle


@dataclass(frozen=True)
class Made:
    """A finished bundle. files, left_out: those that it has, and that the other side has."""

    folder: str
    images: int
    pieces: int
    size: int
    files: int
    left_out: int
    fingerprint: str


def make(
    out: Path,
    *,
    filters: Sequence[Filter],
    held: frozenset[str],
    split: int,
    advance: Callable[[int, int], object],
) -> Made:
    """Write a bundle, or continue one that the same request began.

    held: digests that the other side has. split: bytes of a piece. Raises Problem; then
    whole pieces stay, and the same call continues.
    """
    wanted = options.read()
    request = repr((sorted(map(str, filters)), sorted(held), split, wanted))
    request = hashlib.sha256(request.encode()).hexdigest()
    folder = Folder(out)
    with folder.claimed():
        signer = keys.ensure()
        found = folder.plan(request)
        if found is None or not _is_stored(found[0], found[1]) or _has_kept(found[0]):
            found = _plan(signer, wanted, filters, held, split)
            folder.begin(request, *found)
        plan, documents = found
        with _kept_stored():
            whole = folder.fill(request, plan, documents, _source, advance)
        if _has_kept(plan):
            raise BundleProblem(
                "An image in the bundle was restricted while it was written. It isn't complete.",
                code="changed-meanwhile",
                where=str(out),
                next_step="Run the same command again. It leaves the image out.",
            )
        [signed] = signer.sign([manifests.write(whole)])
        folder.finish(signer.public, signed.clear)
    files = [member for member in whole.members if member.is_here]
    made = Made(
        folder=str(out),
        images=whole.images,
        pieces=len(whole.pieces),
        size=whole.size,
        files=len(files),
        left_out=len(whole.members) - len(files),
        fingerprint=signer.fingerprint,
    )
    events.record("mirror.bundled", actor="local", subject=out.name, bytes=whole.size)
    db.session.commit()
    return made


def _plan(
    signer: Signer, wanted: Options, filters: Sequence[Filter], held: frozenset[str], split: int
) -> tuple[Manifest, dict[str, bytes]]:
    """What is going to be written, and the signed documents by digest."""
    made_at = _dated()
    with db.engine.connect() as connection:
        offered = _filtered(offering.read(connection, wanted), filters)
    db.session.rollback()  # signing takes a while, and holds nothing
    path = f"{manifests.DOCUMENTS}images-{made_at:%Y%m%d%H%M%S}.sjson"
    texts = [
        write_products(offered.document(made_at)),
        write_index(offered.index(made_at, path)),
    ]
    signed = [one.clear for one in signer.sign(texts)]
    documents = {hashlib.sha256(text).hexdigest(): text for text in signed}
    members = [
        Member(digest, len(text), (name,))
        for (digest, text), name in zip(documents.items(), (path, INDEX_PATH), strict=True)
    ]
    names = defaultdict(set)
    for product in offered.products:
        for item in (item for version in product.versions for item in version.items):
            names[item.sha256].add(item.path)
    members += [
        Member(digest, size, tuple(sorted(names[digest])), digest not in held)
        for digest, size in sorted(offered.files.items())
    ]
    plan = Manifest(made_at, offered.images, split, tuple(members))
    if len(plan.sizes) > manifests.MAX_PIECES:
        raise BundleProblem(
            "The bundle would have too many pieces.",
            code="bundle-invalid",
            expected=f"at most {manifests.MAX_PIECES}",
            got=str(len(plan.sizes)),
            next_step="Use larger pieces with --split.",
        )
    return plan, documents


def _dated() -> datetime:
    """The date of a new bundle, later than that of each before. Commits."""
    statements.execute(statements.insert_new(Setting).values(key=_DATED, value=""))
    last = db.session.get_one(Setting, _DATED, populate_existing=True, with_for_update=True)
    dated = offering.next_date(datetime.fromisoformat(last.value) if last.value else None)
    last.value = dated.isoformat()
    db.session.commit()
    return dated


def _filtered(offered: Offered, filters: Sequence[Filter]) -> Offered:
    """The products that pass all filters, whole, and the boot loaders.

    Raises BundleProblem (bundle-empty).
    """
    document = offered.document(None)

    def passes(product: Product) -> bool:
        fields = (
            file_fields(document, product, version, item)
            for version in product.versions
            for item in version.items
        )
        return any(all(one.matches(each) for one in filters) for each in fields)

    has_loaders = not any(one.key == _LOADER_KEY for one in filters)
    found = {product.name for product in offered.products if passes(product)}
    if not found:
        raise BundleProblem(
            "There are no images to bundle.",
            code="bundle-empty",
            expected="at least one image" + (" that the filters match" if filters else ""),
            next_step="See what is offered: slipway mirror status",
        )
    kept = (
        product
        for product in offered.products
        if product.name in found or (has_loaders and _LOADER_KEY in product.fields)
    )
    return replace(offered, products=tuple(kept))


def _is_stored(plan: Manifest, documents: Mapping[str, bytes]) -> bool:
    """Whether every file of a plan is still stored."""
    wanted = {m.sha256 for m in plan.members if m.is_here and m.sha256 not in documents}
    query = select(Blob.sha256).where(Blob.state == BlobState.READY)
    return wanted <= set(db.session.scalars(query))


def _has_kept(plan: Manifest) -> bool:
    """Whether a file of a plan isn't for everyone any more (rule: kept-images)."""
    query = (
        select(Blob.sha256, ImageRestriction.os.is_(None).label("is_open"))
        .join(ResourceFile, ResourceFile.blob_id == Blob.id)
        .join(ResourceSet, ResourceSet.id == ResourceFile.set_id)
        .join(BootResource, BootResource.id == ResourceSet.resource_id)
        .outerjoin(ImageRestriction, IS_KEPT_TO)
        .distinct()
    )
    rows = db.session.execute(query).all()
    db.session.rollback()
    kept = {row.sha256 for row in rows} - {row.sha256 for row in rows if row.is_open}
    return not kept.isdisjoint(member.sha256 for member in plan.members)


def _source(member: Member) -> Iterator[bytes]:
    with store().open(member.sha256) as reader:
        yield from reader.chunks()


@contextmanager
def _kept_stored() -> Iterator[None]:
    """Keep the current versions from being cleaned up, as if machines fetched them."""
    query = select(BootResource.current_set_id).where(BootResource.current_set_id.is_not(None))
    sets = [set_id for set_id in db.session.scalars(query) if set_id is not None]
    db.session.rollback()
    fetches = Fetches(db.engine)
    for set_id in sets:
        fetches.begin(set_id)
    try:
        yield
    finally:
        fetches.close()
