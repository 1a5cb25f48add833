# SPDX-License-Identifier: Apache-2.0
"""Names and file types that an uploaded image may have. Pure (rules: upload-names, file-types)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date

from webapp.errors import InvalidFields

# The operating systems that a deployment supports (rule: known-systems).
SYSTEMS = (
    "bootloader",
    "caringo",
    "centos",
    "custom",
    "esxi",
    "ol",
    "rhel",
    "suse",
    "ubuntu",
    "ubuntu-core",
    "windows",
)
ARCHES = ("amd64", "arm64", "armhf", "i386", "ppc64el", "riscv64", "s390x")
# What clients say -> what is stored and what the file is called.
FILETYPES = {
    "tgz": ("root-tgz", "root.tgz"),
    "tbz": ("root-tbz", "root.tbz"),
    "txz": ("root-txz", "root.txz"),
    "ddtgz": ("root-dd", "root-dd"),
    "ddtar": ("root-dd.tar", "root-dd.tar"),
    "ddraw": ("root-dd.raw", "root-dd.raw"),
    "ddtbz": ("root-dd.tar.bz2", "root-dd.tar.bz2"),
    "ddtxz": ("root-dd.tar.xz", "root-dd.tar.xz"),
    "ddbz2": ("root-dd.bz2", "root-dd.bz2"),
    "ddgz": ("root-dd.gz", "root-dd.gz"),
    "ddxz": ("root-dd.xz", "root-dd.xz"),
}
WORDS = {ftype: word for word, (ftype, _) in FILETYPES.items()}
FILENAMES = dict(FILETYPES.values())
MAX_A_DAY = 999  # names with more digits would sort wrongly
_VERSION = re.compile(r"(\d{8})(?:\.(\d{1,8}))?(?:~.*)?", re.ASCII)  # day, number

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,99}", re.ASCII)
_CENTOS = re.compile(r"centos\d{1,2}", re.ASCII)


@dataclass(frozen=True)
class ImageName:
    """A name taken apart: ``esxi/8.0`` is of a system, ``web`` is not (os "")."""

    os: str
    release: str

    @property
    def full(self) -> str:
        """As it is stored and listed."""
        return f"{self.os}/{self.release}" if self.os else self.release


class _Refused(Exception):
    pass


def read_name(text: str, offered: Collection[tuple[str, str]]) -> ImageName:
    """Take a name apart. A leading ``custom/`` means nothing and is removed.

    offered: (os, release) of everything that the sources offer; those names are theirs.
    Raises InvalidFields on ``name``.
    """
    try:
        return _read_name(text.strip(), offered)
    except _Refused as refused:
        raise InvalidFields({"name": [str(refused)]}) from None


def _read_name(text: str, offered: Collection[tuple[str, str]]) -> ImageName:
    name = text.removeprefix("custom/")
    if not name:
        raise _Refused("This field is required.")
    parts = name.split("/")
    if len(parts) > 2 or not all(_PART.fullmatch(part) for part in parts):
        raise _Refused(
            "Enter a name, e.g. web-server or esxi/8.0: letters, digits and . _ + ~ -, "
            "parts of up to 100 characters, with at most one slash."
        )
    if len(parts) == 2:
        os, release = parts
        if os not in SYSTEMS:
            systems = ", ".join(SYSTEMS)
            raise _Refused(f"{os} isn't a known operating system. Known: {systems}.")
        if (os, release) in offered:
            raise _Refused(f"{name} is a reserved name: a boot source offers it.")
        if os == "bootloader":
            raise _Refused(f"{name} is a reserved name: boot loaders come from boot sources.")
        return ImageName(os, release)
    reserved = {*SYSTEMS, *(os for os, _ in offered), *(release for _, release in offered)}
    if name in reserved or _CENTOS.fullmatch(name):
        raise _Refused(f"{name} is a reserved name.")
    return ImageName("", name)


def read_architecture(text: str, known: Iterable[str]) -> str:
    """``arch/subarch``; known: further ones, of what is stored. Raises InvalidFields."""
    text = text.strip()
    choices = sorted({f"{arch}/generic" for arch in ARCHES} | set(known))
    if not text:
        raise InvalidFields({"architecture": ["This field is required."]})
    if text not in choices:
        raise InvalidFields(
            {
                "architecture": [
                    f"{text[:60]!r} is not a valid architecture. It should be one of: "
                    + ", ".join(repr(choice) for choice in choices)
                    + "."
                ]
            }
        )
    return text


def read_filetype(word: str) -> str:
    """The stored file type; tgz by default. Raises InvalidFields."""
    word = word.strip() or "tgz"
    if word in FILETYPES:
        return FILETYPES[word][0]
    if word in WORDS:
        return word
    choices = ", ".join(FILETYPES)
    raise InvalidFields(
        {
            "filetype": [
                f"Select a valid choice. {word[:60]} is not one of the available choices. "
                f"Choices: {choices}."
            ]
        }
    )


def read_base_image(text: str) -> str:
    """``os/release`` that a custom image was made of, "" when not given. Raises InvalidFields."""
    text = text.strip()
    os, slash, release = text.partition("/")
    if text and (not slash or os not in SYSTEMS or not _PART.fullmatch(release)):
        raise InvalidFields({"base_image": ["Enter a base image, e.g. ubuntu/jammy."]})
    return text


def read_title(text: str) -> str:
    """A line of text for users. Raises InvalidFields."""
    text = text.strip()
    if len(text) > 200 or not text.isprintable():
        raise InvalidFields({"title": ["Enter a single line of up to 200 characters."]})
    return text


def next_version(day: date, existing: Iterable[str]) -> str:
    """A version for today that sorts as text behind all of ``existing``: 20261127, 20261127.001 …

    Padded, since clients take the largest as text (rule: upload-versions). If the clock
    was set back, numbering continues on the latest day there is.
    Raises InvalidFields when a day has too many.
    """
    found = [match for version in existing if (match := _VERSION.fullmatch(version))]
    stem = max([f"{day:%Y%m%d}", *(match[1] for match in found)])
    last = max((int(match[2] or 0) for match in found if match[1] == stem), default=None)
    if last is None:
        return stem
    if last >= MAX_A_DAY:
        raise InvalidFields({"name": [f"{MAX_A_DAY} versions a day is the limit. Try tomorrow."]})
    return f"{stem}.{last + 1:03d}"
