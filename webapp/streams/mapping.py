# SPDX-License-Identifier: Apache-2.0
"""From stream products to what a source offers (rules: product-gate, resource-names)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import islice

from webapp.streams import documents, doubles, gates, osnames
from webapp.streams.documents import LeftOut, Product, ProductsDocument, Version
from webapp.streams.model import only
from webapp.streams.offers import Build, Item, Mapped, Notification, Offer, Skipped, size_of

__all__ = ["Item", "Mapped", "Notification", "Offer", "Skipped", "map_products"]

# Several of these may make up one version, so they keep the names they came with.
_ARCHIVES = frozenset({"archive.tar.xz", "bootloader"})
_EXTRA_KEYS = ("kpackage", "kparams", "src_package", "src_release", "src_version")
_EXTRA = frozenset(_EXTRA_KEYS)
# What ``_names`` asks for.
_NAMING = frozenset(
    {"os", "arch", "subarch", "release", "label", "kflavor", "bootloader-type"}
    | {"gadget_snap", "kernel_snap"}
)
MAX_PACKAGE_LIST = 4 << 20  # bytes; published ones have about 30 KiB
MAX_OLDER = 9  # versions of a product besides its newest one


def map_products(parsed: Iterable[ProductsDocument]) -> Mapped:
    """Say what the documents of one source offer, and of the rest why not.

    Each product is offered in its newest version that holds a file we store.
    No two offers share the name of a boot resource, and within a release,
    architecture and label every kernel name belongs to exactly one of them.
    """
    documents = list(parsed)
    offers: list[Offer] = []
    skipped = [
        Skipped(one.product or document.content_id, _reason(one), one.version)
        for document in documents
        for one in document.left_out
    ]
    notifications: list[Notification] = []
    products = [product for document in documents for product in document.products]
    for product in sorted(products, key=lambda product: product.name):
        if _is_notice(product):
            notices = _notifications(product)
            notifications += notices
            if not notices:
                skipped.append(Skipped(product.name, "it is an empty notice"))
            continue
        offer = _offer(product, skipped)
        if offer:
            offers.append(offer)
    singles = doubles.without_doubles(doubles.without_bare_roots(offers, skipped), skipped)
    return Mapped(
        offers=tuple(_settle_names(singles)),
        skipped=tuple(skipped),
        notifications=tuple(notifications),
    )


def _reason(left_out: LeftOut) -> str:
    return f"item {left_out.item}: {left_out.reason}" if left_out.item else left_out.reason


def _is_notice(product: Product) -> bool:
    return product.fields.get("release") == "notifications" or any(
        item.notification for version in product.versions[:1] for item in version.items
    )


def _notifications(product: Product) -> list[Notification]:
    """The text of the newest version of a notice."""
    return [
        Notification(product.name, notice.version, notice.maas_version, notice.message)
        for version in product.versions[:1]
        for item in version.items
        if (notice := item.notification)
    ]


def _offer(product: Product, skipped: list[Skipped]) -> Offer | None:
    passed_over: list[Skipped] = []
    chosen: Version | None = None
    items: tuple[Item, ...] = ()
    judged = _judged(product)
    for version, found, refusal in judged:
        if not refusal:
            chosen, items = version, found
            break
        passed_over.append(Skipped(product.name, refusal, version.serial))
    fields = _fields_of(chosen) if chosen else product.fields
    refusal = _product_refusal(product, fields, passed_over if not chosen else [])
    if refusal or not chosen:
        skipped.append(Skipped(product.name, refusal))
        return None
    skipped += passed_over
    built = _build(product.name, chosen.serial, fields, items)
    older = islice(_older(judged, fields), MAX_OLDER)
    return replace(built, package_list=_package_list(chosen), older=tuple(older))


def _judged(product: Product) -> Iterator[tuple[Version, tuple[Item, ...], str]]:
    """Each version with its files, or with why it can't be stored; newest first."""
    is_bare = not gates.has_format(product.name)
    for version in product.versions:
        items, refusal = _stored_items(version)
        if not refusal and is_bare and _is_ubuntu(version):
            refusal = gates.ubuntu_refusal({item.ftype for item in items})
        yield version, items, refusal


def _older(
    judged: Iterable[tuple[Version, tuple[Item, ...], str]], fields: Mapping[str, str]
) -> Iterator[Build]:
    """Those that could be stored under the names of the newest, which these fields give."""
    naming, names = only(fields, _NAMING), _names(fields)
    for version, items, refusal in judged:
        if refusal:
            continue
        own = _fields_of(version)
        if only(own, _NAMING) == naming or _names(own) == names:
            yield Build(version.serial, items, _package_list(version))


def _package_list(version: Version) -> Item | None:
    """The list of the packages inside; none where it's too large or there are several."""
    found = {
        item.path: item
        for item in version.items
        if item.ftype == "manifest" and item.path and item.size <= MAX_PACKAGE_LIST
    }
    if len(found) != 1:
        return None
    [item] = found.values()
    return Item(item.ftype, item.ftype, item.path, item.size, item.sha256)


def _is_ubuntu(version: Version) -> bool:
    fields = _fields_of(version)
    return not fields.get("bootloader-type") and (fields.get("os") or "ubuntu") == "ubuntu"


def _fields_of(version: Version) -> Mapping[str, str]:
    """What holds for the version as a whole.

    Publishers move a key up when all items agree on it; one who did not has it
    on each item, so that any item that we store speaks for all.
    """
    stored = next(item for item in version.items if not gates.item_refusal(item))
    return stored.fields


def _product_refusal(
    product: Product, fields: Mapping[str, str], passed_over: Sequence[Skipped]
) -> str:
    names = _names(fields)
    refusal = gates.product_refusal(product.name, names["os"], fields)
    if refusal:
        return refusal
    if not product.versions:
        return "it has no version"
    if passed_over:
        return f"no version of it can be stored; the newest: {passed_over[0].reason}"
    claims = [("subarch", name) for name in _split(fields.get("subarches", ""))]
    return gates.segment_refusal([*names.items(), *claims])


def _stored_items(version: Version) -> tuple[tuple[Item, ...], str]:
    """The files of a version that are worth storing, or why there are none."""
    if version.flaw:
        return (), version.flaw
    stored: dict[str, documents.Item] = {}
    refusals: list[str] = []
    for item in version.items:
        refusal = gates.item_refusal(item)
        if refusal:
            refusals.append(refusal)
        else:
            stored.setdefault(item.path, item)
    if any(item.ftype == "squashfs" for item in stored.values()):
        stored = {path: it for path, it in stored.items() if it.ftype != "root-image.gz"}
    if not stored:
        return (), "; ".join(dict.fromkeys(refusals)) or "it has no files"
    named = _with_filenames(stored.values())
    if len(named) < len(stored):
        return (), "two of its files would be served under one name"
    refusal = gates.segment_refusal(("file", name) for name in named)
    if refusal:
        return (), refusal
    return tuple(_item(name, named[name]) for name in sorted(named)), ""


def _with_filenames(items: Iterable[documents.Item]) -> dict[str, documents.Item]:
    """Items by the name that machines ask for (rule: rack-paths).

    A boot config asks for ``boot-kernel``, whatever the mirror calls the file:
    the stream's ``boot-kernel.xgene`` is the ``boot-kernel`` of its own subarch,
    as ``boot-dtb.xgene-mustang`` is its ``boot-dtb``. Boot loader archives, and
    files that share their type with another one, keep the name in their path.
    """
    items = list(items)
    count = Counter(item.ftype for item in items)
    named = {}
    for item in items:
        keeps_name = item.ftype in _ARCHIVES or count[item.ftype] > 1
        named[item.path.rsplit("/", 1)[-1] if keeps_name else item.ftype] = item
    return named


def _item(filename: str, item: documents.Item) -> Item:
    found = only(item.fields, _EXTRA)
    extra = {key: found[key] for key in _EXTRA_KEYS if found.get(key)}
    return Item(filename, item.ftype, item.path, item.size, item.sha256, extra)


def _names(fields: Mapping[str, str]) -> dict[str, str]:
    """What a boot resource is called: every part becomes a segment of an address."""
    os = fields.get("os") or "ubuntu"
    names = {
        "os": os,
        "arch": fields.get("arch", ""),
        "subarch": "generic",
        "release": fields.get("release", ""),
        "kflavor": "generic",
        "label": fields.get("label", ""),
    }
    if fields.get("bootloader-type"):
        names["release"] = fields["bootloader-type"]
        names["kflavor"] = "bootloader"
    elif os == "ubuntu-core":
        gadget = fields.get("gadget_snap", "")
        # A MAAS region calls the release "18-pc" already.
        if names["release"] and (gadget or "-" not in names["release"]):
            names["release"] += f"-{gadget or 'generic'}"
        names["kflavor"] = fields.get("kernel_snap") or fields.get("kflavor") or "generic"
    else:
        names["kflavor"] = fields.get("kflavor") or "generic"
        names["subarch"] = _own_name(fields.get("subarch") or "generic", names["kflavor"])
    return names


def _own_name(subarch: str, kflavor: str) -> str:
    """The subarch with its kernel flavour, which stands before a final ``-edge``.

    Only kernels are distinguished like this: ``generic-lpae`` and ``highbank`` are flavours
    that have a subarch to themselves.
    """
    is_kernel = subarch.startswith(("ga-", "hwe-"))
    if kflavor == "generic" or not is_kernel or f"-{kflavor}-" in f"{subarch}-":
        return subarch
    base = subarch.removesuffix("-edge")
    return f"{base}-{kflavor}{subarch[len(base) :]}"


def _build(product: str, serial: str, fields: Mapping[str, str], items: tuple[Item, ...]) -> Offer:
    names = _names(fields)
    return Offer(
        product=product,
        os=names["os"],
        arch=names["arch"],
        subarch=names["subarch"],
        release=names["release"],
        kflavor=names["kflavor"],
        label=names["label"],
        version=serial,
        size=size_of(items),
        title=_title(names, fields),
        release_title=fields.get("release_title", ""),
        release_codename=fields.get("release_codename", ""),
        release_version=fields.get("version", ""),
        support_eol=_date(fields.get("support_eol", "")),
        support_esm_eol=_date(fields.get("support_esm_eol", "")),
        bootloader_type=fields.get("bootloader-type", ""),
        is_rolling=fields.get("rolling", "").lower() == "true",
        subarches=_split(fields.get("subarches", "")),
        answers_to=(),
        items=items,
    )


def _title(names: Mapping[str, str], fields: Mapping[str, str]) -> str:
    """The title of system, release and gadget (rule: image-titles)."""
    if fields.get("bootloader-type"):
        return osnames.os_title(names["os"])
    if fields.get("os_title") and fields.get("release_title"):
        title = f"{fields['os_title']} {fields['release_title']}"
    elif fields.get("title") and not fields.get("release_title"):
        return fields["title"]  # a MAAS region has nothing else
    else:
        release = fields.get("release", "")
        title = osnames.release_title(names["os"], release, fields.get("release_title", ""))
    return f"{title} {fields.get('gadget_title', '')}".rstrip()


def _date(text: str) -> date | None:
    """A day that is only shown: one that cannot be read is not worth an import."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _split(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part for part in map(str.strip, text.split(",")) if part))


def _settle_names(offers: Sequence[Offer]) -> list[Offer]:
    """Give each kernel name that machines may ask for to one offer (rule: kernel-names)."""
    groups: dict[tuple[str, ...], list[Offer]] = defaultdict(list)
    for offer in offers:
        groups[offer.os, offer.release, offer.arch, offer.label].append(offer)
    owners = {key: _owners(group) for key, group in groups.items()}
    settled = []
    for offer in offers:
        owner = owners[offer.os, offer.release, offer.arch, offer.label]
        wanted = dict.fromkeys((offer.subarch, "generic", *_claims(offer)))
        answers = tuple(name for name in wanted if owner.get(name) is offer)
        settled.append(replace(offer, answers_to=answers))
    return settled


def _owners(group: Sequence[Offer]) -> dict[str, Offer]:
    """Who answers to which name: its own product, else the home of ``generic``, else the first."""
    owner = {offer.subarch: offer for offer in group}
    for offer in sorted(group, key=lambda offer: not offer.subarch.startswith("ga-")):
        if _is_home_of_generic(offer):
            owner.setdefault("generic", offer)
    for offer in group:
        for name in _claims(offer):
            owner.setdefault(name, offer)
    return owner


def _is_home_of_generic(offer: Offer) -> bool:
    """Whether this is the kernel that the release came with.

    A MAAS region gives the release's name for its version; then any GA kernel is it.
    """
    first = {f"ga-{offer.release_version}", f"hwe-{offer.release[0]}"}
    if offer.release_version == offer.release and offer.subarch.startswith("ga-"):
        first.add(offer.subarch)
    return offer.subarch in first and "generic" in _claims(offer)


def _claims(offer: Offer) -> tuple[str, ...]:
    """Names an offer answers to unless another one has a better claim.

    A flavoured kernel only answers to its own name, and to the rolling alias, which
    names the flavour (rule: kernel-names).
    """
    claims = offer.subarches if offer.kflavor == "generic" else ()
    if offer.is_rolling and offer.subarch.startswith("hwe-"):
        rest = offer.subarch.split("-")[2:]
        claims = (*claims, "-".join(["hwe", "rolling", *rest]))
    return claims
