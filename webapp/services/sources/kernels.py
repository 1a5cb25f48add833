# SPDX-License-Identifier: Apache-2.0
"""Kernels of an image: what each adds to it, and what a choice of them leaves. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from webapp.errors import InvalidFields
from webapp.services.sources.picture import Box, Kernel, Picture
from webapp.services.sources.selections import Line
from webapp.streams import kernels as names
from webapp.streams.filters import ANY

MAX_CHOSEN = 100  # names in one choice
MAX_NAME = 64


@dataclass(frozen=True)
class KernelOffer:
    """A kernel of an image. adds: bytes that no other kernel of the image has.

    new_size: those of all its files that aren't stored yet.
    """

    box: Box
    kernel: Kernel
    adds: int
    new_size: int
    is_chosen: bool
    is_stored: bool

    @property
    def title(self) -> str:
        """Its name for people."""
        return names.title(self.kernel.name)

    @property
    def is_generic(self) -> bool:
        """Whether it's the one for machines that have no kernel of their own."""
        return names.GENERIC in self.kernel.answers_to


@dataclass(frozen=True)
class KernelChange:
    """Another choice of kernels for a selection: names that its images gain and lose.

    Images that weren't selected before gain and lose none, and what a rule selects stays.
    lost: those of the removed ones that are stored.
    """

    line: Line
    title: str
    chosen: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    lost: tuple[str, ...]


def offers(box: Box, ready: Collection[str]) -> list[KernelOffer]:
    """The kernels of an image in their order. ready: digests of whole blobs."""
    shares = Counter(digest for kernel in box.kernels for digest in kernel.files)
    return [
        KernelOffer(
            box=box,
            kernel=kernel,
            adds=sum(size for digest, size in kernel.files.items() if shares[digest] == 1),
            new_size=sum(size for digest, size in kernel.files.items() if digest not in ready),
            is_chosen=kernel.is_among(box.chosen),
            is_stored=all(digest in ready for digest in kernel.files),
        )
        for kernel in box.kernels
    ]


def shared_bytes(box: Box) -> int:
    """Bytes of what several kernels of an image have in common, each file once."""
    shares = Counter(digest for kernel in box.kernels for digest in kernel.files)
    sizes = {digest: size for kernel in box.kernels for digest, size in kernel.files.items()}
    return sum(size for digest, size in sizes.items() if shares[digest] > 1)


def cleaned(chosen: Iterable[str]) -> tuple[str, ...]:
    """A choice as a selection keeps it: each name once in order, ``*`` alone for all.

    Raises InvalidFields for none, too many, or names that are too long.
    """
    found = sorted(set(chosen), key=names.order_key)
    if ANY in found:
        return (ANY,)
    if not found:
        raise _refusal("Choose at least one kernel.")
    if len(found) > MAX_CHOSEN or any(len(name) > MAX_NAME for name in found):
        raise _refusal(f"At most {MAX_CHOSEN} names of at most {MAX_NAME} characters.")
    return tuple(found)


def check(boxes: Sequence[Box], selected: Sequence[Box], chosen: Collection[str]) -> None:
    """Raise InvalidFields for a name that isn't offered, or an image without any kernel.

    boxes: all images of one release; selected: those that are downloaded. What was chosen
    before may stay while no source offers it.
    """
    known = {name for box in boxes for kernel in box.kernels for name in kernel.answers_to}
    known |= {name for box in boxes for name in box.chosen} | {ANY}
    unknown = [name for name in chosen if name not in known]
    if unknown and boxes:
        choices = dict.fromkeys(kernel.name for box in boxes for kernel in box.kernels)
        raise _refusal(
            f"No source offers {', '.join(unknown[:5])} for {_release(boxes[0])}. "
            f"It has {', '.join(choices)}."
        )
    for box in selected:
        names_of = {*chosen, *box.ruled_kernels}
        if box.kernels and not any(kernel.is_among(names_of) for kernel in box.kernels):
            choices = dict.fromkeys(kernel.name for kernel in box.kernels)
            raise _refusal(
                f"{_release(box)} {box.pick.arch} would have no kernel to boot. "
                f"It has {', '.join(choices)}."
            )


def warnings(boxes: Iterable[Box], chosen: Collection[str]) -> tuple[str, ...]:
    """What machines miss with a choice of kernels (rule: generic-is-asked-for)."""
    return tuple(
        f"{_release(box)} {box.pick.arch} would have no {kernel.name}, the kernel that "
        f"machines ask for as generic. MAAS commissions machines with it unless its minimum "
        f"kernel is set."
        for box in boxes
        for kernel in box.kernels
        if names.GENERIC in kernel.answers_to and not kernel.is_among({*chosen, *box.ruled_kernels})
    )


def changes(
    picture: Picture, boxes: Iterable[Box], chosen: Mapping[Line, tuple[str, ...]]
) -> Iterator[KernelChange]:
    """What these choices change for boxes that stay or become selected."""
    for line, after in chosen.items():
        found = [box for box in boxes if box.line == line]
        if not found or set(found[0].chosen) == set(after):
            continue
        selected = [(box, replace(box, chosen=after)) for box in found if box.is_selected]
        yield _change(picture, line, after, selected, found[0].title)


def left_to_rules(picture: Picture, boxes: Iterable[Box]) -> Iterator[KernelChange]:
    """The kernels that deselected boxes lose though rules keep them: those of people alone."""
    for box in boxes:
        if box.rules and not box.is_locked:
            ruled = replace(box, is_selected=False)
            change = _change(picture, box.line, box.ruled_kernels, [(box, ruled)], box.title)
            if change.removed:
                yield change


def _change(
    picture: Picture,
    line: Line,
    after: tuple[str, ...],
    boxes: Iterable[tuple[Box, Box]],
    title: str,
) -> KernelChange:
    """The difference that boxes make, each as it is and as it will be."""
    gained: set[str] = set()
    removed: set[str] = set()
    lost: set[str] = set()
    for box, becomes in boxes:
        before, then = ({kernel.name for kernel in one.kept_kernels} for one in (box, becomes))
        gained |= then - before
        removed |= before - then
        stored = {one.kernel.name for one in offers(box, picture.ready) if one.is_stored}
        lost |= (before - then) & stored if box.is_stored else set()
    return KernelChange(
        line=line,
        title=title,
        chosen=after,
        added=tuple(sorted(gained, key=names.order_key)),
        removed=tuple(sorted(removed, key=names.order_key)),
        lost=tuple(sorted(lost, key=names.order_key)),
    )


def _release(box: Box) -> str:
    return f"{box.pick.os}/{box.pick.release}"


def _refusal(message: str) -> InvalidFields:
    return InvalidFields({"kernels": [message]})
