# SPDX-License-Identifier: Apache-2.0
"""Write a bill of materials (CycloneDX 1.6, JSON) of what is installed to run Slipway.

    python deploy/sbom.py [FILE]

It's made from the locks and from static/vendor/MANIFEST; licences and dependencies come
from the metadata of the installed packages. The same locks give the same bytes: a time is
written only if SOURCE_DATE_EPOCH is set.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import is_supported_id
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "static" / "vendor"
# The second is in the environment only for the editable install.
LOCKS = (
    ("requirements.txt", ComponentScope.REQUIRED),
    ("requirements-build.txt", ComponentScope.EXCLUDED),
)
_NAMESPACE = uuid.UUID("5c3a5ed4-5a2c-4d5f-9f0e-0d5f0b6b3a10")  # of serial numbers, ours only


def bill() -> str:
    """The document as JSON text."""
    root = _application()
    found = {item.name: item for name, scope in LOCKS for item in _locked(ROOT / name, scope)}
    vendored = _vendored()
    bom = Bom(components=[*found.values(), *vendored], metadata=BomMetaData(component=root))
    direct = {_name(line) for line in _lines(ROOT / "requirements.in")}
    bom.dependencies.add(
        Dependency(
            root.bom_ref,
            [Dependency(c.bom_ref) for c in (*found.values(), *vendored) if _is_direct(c, direct)],
        )
    )
    for item in found.values():
        needs = [Dependency(found[name].bom_ref) for name in _needs(item.name) if name in found]
        bom.dependencies.add(Dependency(item.bom_ref, needs))
    purls = sorted(str(component.purl) for component in bom.components)
    bom.serial_number = uuid.uuid5(_NAMESPACE, "\n".join([str(root.purl), *purls]))
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    bom.metadata.timestamp = (
        datetime.fromtimestamp(int(epoch), UTC) if epoch else None  # type: ignore[assignment]
    )
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _application() -> Component:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    return _component(
        name,
        version,
        PackageURL("generic", None, name, version),
        licences=[LicenseFactory().make_from_string(project["license"])],
        kind=ComponentType.APPLICATION,
    )


def _locked(lock: Path, scope: ComponentScope) -> Iterator[Component]:
    """The packages of a lock that this platform installs.

    hashes: of each distribution that the lock accepts.
    """
    for block in re.split(r"\n(?=\S)", lock.read_text()):
        line, *rest = [text.strip(" \\") for text in block.splitlines()]
        if not line or line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        name = canonicalize_name(requirement.name)
        version = str(requirement.specifier).removeprefix("==")
        hashes = [text.removeprefix("--hash=sha256:") for text in rest if "--hash" in text]
        yield _component(
            name,
            version,
            PackageURL("pypi", None, name, version),
            licences=_licences(name),
            scope=scope,
            hashes=hashes,
        )


def _vendored() -> list[Component]:
    """Libraries of other makers below static/vendor, each with its files."""
    files: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for line in _lines(VENDOR / "MANIFEST"):
        digest, file, package, version, licence = line.split()
        files.setdefault((package, version, licence), []).append((file, digest))
    made = []
    for (package, version, licence), members in files.items():
        scope_name, _, name = package.rpartition("/")
        component = _component(
            package,
            version,
            PackageURL("npm", scope_name or None, name, version),
            licences=[LicenseFactory().make_from_string(licence)],
            scope=ComponentScope.REQUIRED,
        )
        for file, digest in members:
            component.components.add(
                Component(
                    name=f"static/vendor/{file}",
                    type=ComponentType.FILE,
                    bom_ref=f"{component.purl}#{file}",
                    hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
                )
            )
        made.append(component)
    return made


def _component(
    name: str,
    version: str,
    purl: PackageURL,
    *,
    licences: list[License],
    kind: ComponentType = ComponentType.LIBRARY,
    scope: ComponentScope | None = None,
    hashes: list[str] | None = None,
) -> Component:
    return Component(
        name=name,
        version=version,
        type=kind,
        purl=purl,
        bom_ref=str(purl),
        scope=scope,
        licenses=licences,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=text) for text in hashes or ()],
    )


def _licences(name: str) -> list[License]:
    """What the installed package declares: SPDX's words, else its classifiers, else a name."""
    found = metadata.metadata(name)
    factory = LicenseFactory()
    if expression := found.get("License-Expression"):
        return [factory.make_from_string(expression)]
    text = found.get("License", "").strip()
    if is_supported_id(text):
        return [factory.make_with_id(text)]
    known = [line.split(" :: ") for line in found.get_all("Classifier") or ()]
    names = sorted({parts[-1] for parts in known if parts[0] == "License" and len(parts) > 2})
    if not names and text and "\n" not in text:
        names = [text]
    return [factory.make_from_string(text) for text in names]


def _needs(name: str) -> set[str]:
    """The packages that an installed one needs, with the extras that the lock may have asked."""
    needs = set()
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        extras = ("", *(metadata.metadata(name).get_all("Provides-Extra") or ()))
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            needs.add(canonicalize_name(requirement.name))
    return needs


def _is_direct(component: Component, direct: set[str]) -> bool:
    return component.name in direct or component.purl is None or component.purl.type == "npm"


def _name(line: str) -> str:
    return canonicalize_name(Requirement(line).name)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


if __name__ == "__main__":
    text = bill()
    if len(sys.argv) > 1:
        Path(sys.argv[1]).parent.mkdir(parents=True, exist_ok=True)
        Path(sys.argv[1]).write_text(text)
    else:
        sys.stdout.write(text)
