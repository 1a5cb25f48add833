# SPDX-License-Identifier: Apache-2.0
"""Facts about the published MAAS image stream: releases, kernels, loaders, sizes.

Tables here, rules below them; ``kernels()`` gives one record for each Ubuntu product.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """An Ubuntu release with the dates of distro-info."""

    codename: str
    version: str
    title: str
    fullname: str
    eol: str
    esm_eol: str


@dataclass(frozen=True)
class Kernel:
    """One Ubuntu product: a kernel of a release on an architecture."""

    codename: str
    version: str
    krel: str
    arch: str
    subarch: str
    flavor: str
    package: str
    subarches: str
    suffix: str = ""
    has_dtb: bool = False

    @property
    def name(self) -> str:
        """The last part of the product id: the flavour goes before ``-edge``."""
        if self.flavor == "generic":
            return self.subarch
        base, edge, _ = self.subarch.partition("-edge")
        return f"{base}-{self.flavor}{edge}"


# Newest first: code name, version, L for long support, end of support, end of ESM.
_RELEASES = """
resolute 26.04 L Resolute_Raccoon  2031-05-29 2036-04-23
questing 25.10 - Questing_Quokka   2026-07-09 -
plucky   25.04 - Plucky_Puffin     2026-01-15 -
oracular 24.10 - Oracular_Oriole   2025-07-10 -
noble    24.04 L Noble_Numbat      2029-05-31 2034-04-25
mantic   23.10 - Mantic_Minotaur   2024-07-11 -
lunar    23.04 - Lunar_Lobster     2024-01-25 -
kinetic  22.10 - Kinetic_Kudu      2023-07-20 -
jammy    22.04 L Jammy_Jellyfish   2027-06-01 2032-04-21
impish   21.10 - Impish_Indri      2022-07-14 -
hirsute  21.04 - Hirsute_Hippo     2022-01-20 -
groovy   20.10 - Groovy_Gorilla    2021-07-22 -
focal    20.04 L Focal_Fossa       2025-05-29 2030-04-23
bionic   18.04 L Bionic_Beaver     2023-05-31 2028-04-26
xenial   16.04 L Xenial_Xerus      2021-04-30 2026-04-23
trusty   14.04 L Trusty_Tahr       2019-04-25 2024-04-25
precise  12.04 L Precise_Pangolin  2017-04-28 2019-04-26
"""

# Kernels of a release, architecture by architecture. ga, hwe and edge are the generic
# kernels; "+" adds the lowlatency flavour beside; the rest are boards of 32 and 64 bit ARM.
# Before 16.04 a kernel was named after the first letter of the release it came from.
_KERNELS = """
resolute amd64: ga | arm64: ga | armhf: ga | ppc64el: ga | s390x: ga
questing amd64: ga | arm64: ga | armhf: ga | ppc64el: ga | s390x: ga
plucky   amd64: ga | arm64: ga | armhf: ga | ppc64el: ga | s390x: ga
oracular amd64: ga+ | arm64: ga | armhf: ga | ppc64el: ga | s390x: ga
noble    amd64: ga+ hwe+ edge+ | arm64: ga hwe+ edge+ | armhf: ga hwe edge | ppc64el: ga hwe edge
noble    riscv64: ga | s390x: ga hwe edge
mantic   amd64: ga+ | arm64: ga | armhf: ga | ppc64el: ga | riscv64: ga | s390x: ga
lunar    amd64: ga+ | arm64: ga | armhf: lpae ga | ppc64el: ga | s390x: ga
kinetic  amd64: ga+ | arm64: ga mustang xgene | armhf: lpae ga | ppc64el: ga | s390x: ga
jammy    amd64: ga+ hwe+ edge+ | arm64: ga hwe+ edge+ mustang xgene | armhf: lpae ga hwe edge
jammy    ppc64el: ga hwe edge | riscv64: ga | s390x: ga hwe edge
impish   amd64: ga+ | arm64: ga mustang xgene | armhf: lpae ga | ppc64el: ga | s390x: ga
hirsute  amd64: ga+ | arm64: ga mustang xgene | armhf: lpae ga | i386: ga+ | ppc64el: ga
hirsute  s390x: ga
groovy   amd64: ga+ | arm64: ga mustang xgene | armhf: lpae ga | i386: ga+ | ppc64el: ga
groovy   s390x: ga
focal    amd64: ga+ hwe+ edge+ | arm64: ga hwe edge mustang xgene | armhf: lpae ga hwe edge
focal    i386: ga+ hwe+ edge+ | ppc64el: ga hwe edge | s390x: ga hwe edge
bionic   amd64: ga+ hwe+ edge+ | arm64: ga hwe edge mustang xgene | armhf: lpae ga hwe edge
bionic   i386: ga+ hwe+ edge+ | ppc64el: ga hwe edge | s390x: ga hwe edge
xenial   amd64: ga+ hwe+ edge+ | arm64: ga hwe edge mustang xgene | armhf: lpae ga hwe edge
xenial   i386: ga+ hwe+ edge+ | ppc64el: ga hwe edge | s390x: ga hwe edge
trusty   amd64: t u v w x x+ | arm64: t u v w x mustang xgene | armhf: t u v w x lpae
trusty   i386: t u v w x x+ | ppc64el: t u v w x
precise  amd64: p q r s t | armhf: highbank | i386: p q r s t
"""

_LETTERS = {
    "p": "precise",
    "q": "quantal",
    "r": "raring",
    "s": "saucy",
    "t": "trusty",
    "u": "utopic",
    "v": "vivid",
    "w": "wily",
    "x": "xenial",
}
_SERIES = (
    "16.04 16.10 17.04 17.10 18.04 18.10 19.04 19.10 20.04 20.10 21.04 21.10 22.04 22.10 "
    "23.04 23.10 24.04 24.10 25.04 25.10 26.04"
).split()
# An edge kernel answers to ga names up to one series, then to hwe names of these.
_EDGE = {
    "16.04": ("16.04", ["16.04", "16.10", "17.04", "17.10", "18.04"]),
    "18.04": ("18.04", ["18.10", "19.04"]),
    "20.04": ("18.04", ["18.10", "19.04", "19.10", "20.04"]),
    "22.04": ("18.04", ["18.10", "19.04", "19.10", "20.04", "22.04"]),
    "24.04": ("18.04", ["18.10", "19.04", "19.10", "20.04", "22.04", "24.04"]),
}
_BOARDS = {  # subarch, flavour, package, suffix of the file names, has a device tree
    "lpae": ("generic-lpae", "generic-lpae", "linux-generic-lpae", "", False),
    "mustang": ("xgene-uboot-mustang", "generic", "linux-generic", ".xgene-mustang", True),
    "xgene": ("xgene-uboot", "generic", "linux-generic", ".xgene", False),
    "highbank": ("highbank", "highbank", "linux-highbank", "", False),
}


def _parse_releases() -> tuple[Release, ...]:
    rows = (line.split() for line in _RELEASES.strip().splitlines())
    return tuple(
        Release(
            codename,
            version,
            version + (" LTS" if support == "L" else ""),
            fullname.replace("_", " "),
            eol,
            eol if esm == "-" else esm,
        )
        for codename, version, support, fullname, eol, esm in rows
    )


RELEASES = _parse_releases()
RELEASE_BY_NAME = {release.codename: release for release in RELEASES}


def kernels() -> tuple[Kernel, ...]:
    """Every Ubuntu product of the catalogue, newest release first."""
    found: list[Kernel] = []
    for line in _KERNELS.strip().splitlines():
        codename, _, cells = line.partition(" ")
        for cell in cells.split("|"):
            arch, _, tokens = cell.strip().partition(": ")
            for token in tokens.split():
                found += _products(RELEASE_BY_NAME[codename], arch, token)
    return tuple(found)


def _products(release: Release, arch: str, token: str) -> list[Kernel]:
    if token in _BOARDS:
        subarch, flavor, package, suffix, has_dtb = _BOARDS[token]
        return [
            Kernel(
                release.codename,
                release.version,
                release.codename,
                arch,
                subarch,
                flavor,
                package,
                subarch,
                suffix,
                has_dtb,
            )
        ]
    if release.codename in ("trusty", "precise"):
        return [_lettered(release, arch, token)]
    return _numbered(release, arch, token.rstrip("+"), has_lowlatency=token.endswith("+"))


def _lettered(release: Release, arch: str, token: str) -> Kernel:
    letter, is_lowlatency = token[0], token.endswith("+")
    krel = _LETTERS[letter]
    names = ["generic"]
    if arch == "armhf" and letter == "t":
        names.append("highbank")
    names += _hwe_letters(letter)
    if is_lowlatency:
        package = "linux-lowlatency" + ("-lts-xenial" if arch == "amd64" else "")
    elif krel == release.codename:
        package = "linux-generic"
    elif release.codename == "precise" and arch == "amd64":
        package = f"linux-signed-generic-lts-{krel}"
    else:
        package = f"linux-generic-lts-{krel}"
    return Kernel(
        release.codename,
        release.version,
        krel,
        arch,
        f"hwe-{letter}",
        "lowlatency" if is_lowlatency else "generic",
        package,
        ",".join(names),
    )


def _numbered(release: Release, arch: str, kind: str, *, has_lowlatency: bool) -> list[Kernel]:
    version, codename = release.version, release.codename
    subarch = {"ga": f"ga-{version}", "hwe": f"hwe-{version}", "edge": f"hwe-{version}-edge"}[kind]
    tail = "" if kind == "ga" else f"-{subarch}"
    packages = {"generic": f"linux-generic{tail}"}
    if has_lowlatency:
        packages["lowlatency"] = f"linux-lowlatency{tail}"
        if kind == "ga" and codename not in ("xenial", "bionic"):
            packages["lowlatency"] = "linux-image-lowlatency"
    subarches = ",".join(_answers(arch, version, kind))
    return [
        Kernel(codename, version, codename, arch, subarch, flavor, package, subarches)
        for flavor, package in packages.items()
    ]


def _answers(arch: str, version: str, kind: str) -> list[str]:
    last_ga, hwe = _EDGE[version] if kind == "edge" else (version, [])
    names = ["generic", *(["highbank"] if arch == "armhf" else []), *_hwe_letters("w")]
    names += [f"ga-{series}" for series in _SERIES[: _SERIES.index(last_ga) + 1]]
    return names + [f"hwe-{series}" for series in hwe]


def _hwe_letters(last: str) -> list[str]:
    letters = list(_LETTERS)
    return [f"hwe-{letter}" for letter in letters[: letters.index(last) + 1]]


@dataclass(frozen=True)
class LoaderPackage:
    """A Debian or Ubuntu source package whose members make one archive of a loader."""

    source: str
    release: str
    version: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Loader:
    """A boot loader product."""

    os: str
    platform: str
    arch: str
    arches: str
    packages: tuple[LoaderPackage, ...]
    serials: tuple[str, ...]


_C32 = tuple(
    f"{name}.c32"
    for name in "chain ifcpu64 ldlinux libcom32 libutil menu poweroff reboot vesamenu".split()
)
_GRUB, _SHIM = "1.187.6+2.06-2ubuntu14.4", "1.51.3+15.7-0ubuntu1"
_SYSLINUX = "3:6.04~git20190206.bf6db5b4+dfsg1-"
LOADERS = (
    Loader(
        "grub-efi-signed",
        "uefi",
        "amd64",
        "amd64",
        (
            LoaderPackage("grub2-signed", "jammy", _GRUB, ("grubx64.efi",)),
            LoaderPackage("shim-signed", "jammy", _SHIM, ("bootx64.efi", "mmx64.efi")),
        ),
        ("20230222.0", "20231004.0"),
    ),
    Loader(
        "grub-efi",
        "uefi",
        "arm64",
        "arm64",
        (
            LoaderPackage("grub2-signed", "jammy", _GRUB, ("grubaa64.efi",)),
            LoaderPackage("shim-signed", "jammy", _SHIM, ("bootaa64.efi", "mmaa64.efi")),
        ),
        ("20230222.0", "20231004.0"),
    ),
    Loader(
        "grub-ieee1275",
        "open-firmware",
        "ppc64el",
        "ppc64el,ppc64",
        (LoaderPackage("grub2", "xenial", "2.02~beta2-36ubuntu3.32", ("bootppc64.bin",)),),
        ("20201124.0", "20210509.0"),
    ),
    Loader(
        "pxelinux",
        "pxe",
        "amd64",
        "amd64, i386",
        (
            LoaderPackage(
                "syslinux", "jammy", _SYSLINUX + "3ubuntu1", ("pxelinux.0", "lpxelinux.0", *_C32)
            ),
        ),
        ("20230615.0",),
    ),
    Loader(
        "pxelinux",
        "pxe",
        "i386",
        "i386,amd64",
        (
            LoaderPackage(
                "syslinux", "focal", _SYSLINUX + "2", ("pxelinux.0", "lpxelinux.0", *_C32)
            ),
        ),
        ("20180807.0", "20210203.0"),
    ),
)


@dataclass(frozen=True)
class CentOS:
    """A CentOS base image; its release is what the MAAS driver maps to a title."""

    version: str
    release: str
    title: str
    eol: str
    serials: tuple[str, ...]


CENTOS = (
    CentOS("6.6", "centos66", "CentOS 6", "2020-11-30", ("20160930_01", "20201130_01")),
    CentOS("7.0", "centos70", "CentOS 7", "2024-06-30", ("20240604_01", "20240622_01")),
    CentOS("8", "8", "CentOS 8", "2029-05-31", ("20211029_01", "20211104_01")),
)

# Bytes of each kind of file: as published, and as small as a test wants them.
REAL_SIZES: dict[str, int] = {
    "squashfs": 300 << 20,
    "boot-kernel": 15 << 20,
    "boot-initrd": 78 << 20,
    "boot-dtb": 20 << 10,
    "root-image.gz": 400 << 20,
    "root-tgz": 500 << 20,
    "root-dd.gz": 450 << 20,
    "root-dd.xz": 300 << 20,
    "loader": 1 << 20,
}
SMALL_SIZES: dict[str, int] = {
    "squashfs": 32 << 10,
    "boot-kernel": 4 << 10,
    "boot-initrd": 8 << 10,
    "boot-dtb": 1 << 10,
    "root-image.gz": 16 << 10,
    "root-tgz": 32 << 10,
    "root-dd.gz": 16 << 10,
    "root-dd.xz": 16 << 10,
    "loader": 1 << 10,
}
