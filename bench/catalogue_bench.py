# SPDX-License-Identifier: Apache-2.0
"""A large catalogue: 1,000 products with 5 versions each, beside an earlier commit.

    first      read it for the first time: fetch, verify, parse, map, store
    changed    read it again after every product got a version
    unchanged  read it again as it is
    plan       decide and report what an import does, with nothing stored
    update     the same with every image stored, one version behind

Each in a process of its own, SQLite, alternating with the commit of ``--before``. Prints
medians, by the clock and of processors: where a machine is shared, those compare. Asserts nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import children
from bench.children import ROOT, add_source, measured, region
from bench.import_bench import serving
from tests.support import signed

BEFORE = "a577e8c"
STEPS = ("first", "changed", "unchanged", "plan", "update")
GOALS = {"first": 2.0, "changed": 2.0, "plan": 0.5, "update": 0.5}
Cost = tuple[float, float]
RELEASES, ARCHES, KERNELS, VERSIONS = 50, ("amd64", "arm64", "ppc64el", "s390x"), 5, 5
SIZES = {"boot-kernel": 15 << 20, "boot-initrd": 75 << 20, "squashfs": 280 << 20}


def main() -> None:
    """Run the steps in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--before", default=BEFORE, help='commit to compare with; "": none')
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(json.loads(options.child))
        return
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        run(Path(folder), options.pairs, options.before)


def run(folder: Path, pairs: int, before: str) -> None:
    """Make two states of the stream, then alternate."""
    key = signed.new_key()
    (folder / "key.gpg").write_bytes(key.public)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for name, shift in (("old", 0), ("new", 1)):
        make_stream(folder / name, key, start + timedelta(days=shift), shift)
    found: dict[str, dict[str, list[Cost]]] = {"now": {}, "before": {}}
    with serving(folder, folder) as (address, _), worktree(folder / "before", before) as earlier:
        roots = {"now": ROOT} | ({"before": earlier} if earlier else {})
        for _ in range(pairs):
            for name, root in roots.items():
                for step, cost in measure(root, folder, address).items():
                    found[name].setdefault(step, []).append(cost)
    print(f"{RELEASES * len(ARCHES) * KERNELS} products x {VERSIONS} versions, {pairs} pairs")
    for step in STEPS:
        goal = f"(goal < {GOALS[step]} s)" if step in GOALS else ""
        now, then = words(found["now"].get(step)), words(found["before"].get(step))
        print(f"{step:10} {now}   {before or 'before'}: {then}   {goal}".rstrip())


def words(costs: list[Cost] | None) -> str:
    """The medians: seconds by the clock, and those that processors worked."""
    if not costs:
        return "-"
    clock, worked = (statistics.median(values) for values in zip(*costs, strict=True))
    return f"{clock:5.2f} s ({worked:4.2f} s of a processor)"


def make_stream(folder: Path, key: signed.SigningKey, updated: datetime, shift: int) -> None:
    """A signed stream without files: nothing is downloaded here."""
    streams = folder / "streams" / "v1"
    streams.mkdir(parents=True)
    at = f"{updated:%a, %d %b %Y %H:%M:%S} +0000"
    products = dict(make_products(shift))
    index = {
        "format": "index:1.0",
        "updated": at,
        "index": {
            "com.ubuntu.maas:stable:v3:download": {
                "format": "products:1.0",
                "datatype": "image-downloads",
                "path": "streams/v1/products.sjson",
                "updated": at,
                "products": sorted(products),
            }
        },
    }
    document = {
        "format": "products:1.0",
        "datatype": "image-downloads",
        "content_id": "com.ubuntu.maas:stable:v3:download",
        "updated": at,
        "products": products,
    }
    for name, content in (("index", index), ("products", document)):
        (streams / f"{name}.sjson").write_bytes(
            signed.clearsign(key, json.dumps(content, indent=1))
        )


def make_products(shift: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Kernels of Ubuntu releases. The first version is ``shift`` days later."""
    for number in range(RELEASES):
        version, release = f"{number + 10}.04", f"release{number}"
        for arch in ARCHES:
            for subarch, flavour in (
                (f"ga-{version}", "generic"),
                (f"ga-{version}-lowlatency", "lowlatency"),
                (f"hwe-{version}", "generic"),
                (f"hwe-{version}-edge", "generic"),
                (f"hwe-{version}-lowlatency", "lowlatency"),
            ):
                days = [
                    f"2026{1 + day // 28:02}{1 + day % 28:02}" for day in range(shift, shift + 5)
                ]
                yield (
                    f"com.ubuntu.maas.stable:v3:boot:{version}:{arch}:{subarch}",
                    {
                        "os": "ubuntu",
                        "release": release,
                        "release_title": f"{version} LTS",
                        "release_codename": "Some Animal",
                        "version": version,
                        "arch": arch,
                        "label": "stable",
                        "subarch": subarch,
                        "kflavor": flavour,
                        "subarches": f"generic,hwe-p,hwe-q,hwe-r,hwe-s,hwe-t,hwe-u,{subarch}",
                        "support_eol": "2031-04-25",
                        "versions": {
                            day: {"items": dict(make_items(release, arch, subarch, day))}
                            for day in days
                        },
                    },
                )


def make_items(
    release: str, arch: str, subarch: str, day: str
) -> Iterator[tuple[str, dict[str, object]]]:
    """Files of one version; the kernels of a release share its squashfs."""
    for ftype, size in SIZES.items():
        own = "" if ftype == "squashfs" else subarch
        path = f"{release}/{arch}/{day}/{own}/{ftype}".replace("//", "/")
        digest = hashlib.sha256(path.encode()).hexdigest()
        yield ftype, {"ftype": ftype, "path": path, "size": size, "sha256": digest}
    path = f"{release}/{arch}/{day}/squashfs.manifest"
    digest = hashlib.sha256(path.encode()).hexdigest()
    yield "manifest", {"ftype": "manifest", "path": path, "size": 30000, "sha256": digest}


@contextmanager
def worktree(folder: Path, commit: str) -> Iterator[Path | None]:
    """An earlier commit with this benchmark in it; None without one."""
    git = ["git", "-C", str(ROOT), "worktree"]
    known = subprocess.run(
        ["git", "-C", str(ROOT), "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True
    )
    if not commit or known.returncode:
        yield None
        return
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit], check=True)
    try:
        for name in (__file__, children.__file__):
            shutil.copy(name, folder / "bench")
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def measure(root: Path, folder: Path, address: str) -> dict[str, Cost]:
    """All steps in a process of its own, with the code below ``root``."""
    data, live = folder / "data", folder / "live"
    shutil.rmtree(data, ignore_errors=True)
    shutil.rmtree(live, ignore_errors=True)
    shutil.copytree(folder / "old", live)
    task = {"data": str(data), "folder": str(folder), "url": f"{address}live/"}
    return measured("bench.catalogue_bench", task, root)


def child(task: dict[str, str]) -> None:
    """The measured process: the very code that the worker and the pages run."""
    from webapp.extensions import db
    from webapp.models import BootSource, BootSourceCache, BootSourceSelection
    from webapp.server import worker
    from webapp.services.imports import preview
    from webapp.services.sources import refreshing

    folder = Path(task["folder"])
    if hasattr(worker, "spare_collector"):  # not in an earlier commit
        worker.spare_collector()
    found: dict[str, Cost] = {}
    with region(task["data"]):
        source_id = add_source(task["url"], str(folder / "key.gpg"))

        def read() -> None:
            source = db.session.get_one(BootSource, source_id)
            problem = refreshing.refresh(source).problem
            if problem is not None:
                raise SystemExit(str(problem))

        found["first"] = timed(read)
        names = db.session.execute(
            db.select(BootSourceCache.os, BootSourceCache.release).distinct()
        )
        db.session.add_all(
            BootSourceSelection(source_id=source_id, os=os_name, release=release)
            for os_name, release in names.all()
        )
        db.session.commit()
        found["plan"] = timed(preview.next_report)
        store_all(source_id)
        for name in ("index", "products"):
            path = Path("streams/v1") / f"{name}.sjson"
            shutil.copy(folder / "new" / path, folder / "live" / path)
        found["changed"] = timed(read)
        found["unchanged"] = timed(read)
        found["update"] = timed(preview.next_report)
        report = preview.next_report()
        if len(report.actions) != RELEASES * len(ARCHES) * KERNELS:
            raise SystemExit(f"{len(report.actions)} images are planned")
    print(json.dumps(found))


def store_all(source_id: int) -> None:
    """Rows as if everything on offer had been imported."""
    from webapp.extensions import db
    from webapp.models import (
        Blob,
        BlobState,
        BootResource,
        BootSourceCache,
        ResourceFile,
        ResourceSet,
        utcnow,
    )

    blobs: dict[str, Blob] = {}
    for row in db.session.scalars(db.select(BootSourceCache)).all():
        resource = BootResource(
            name=f"{row.os}/{row.release}",
            architecture=f"{row.arch}/{row.subarch}",
            source_id=source_id,
            **{
                name: getattr(row, name)
                for name in ("os", "release", "arch", "subarch", "kflavor", "title", "subarches")
            },
        )
        one = ResourceSet(
            resource=resource, version=row.version, label=row.label, completed_at=utcnow()
        )
        for item in row.items:
            digest = item["sha256"]
            blobs.setdefault(digest, Blob(sha256=digest, size=item["size"], state=BlobState.READY))
            one.files.append(
                ResourceFile(filename=item["filename"], ftype=item["ftype"], blob=blobs[digest])
            )
        db.session.add(resource)
        db.session.flush()
        resource.current_set_id = one.id
    db.session.commit()


def timed(step: Callable[[], object]) -> Cost:
    """What a step costs, from an empty session: by the clock, and of all processors."""
    from webapp.extensions import db

    db.session.remove()
    began, worked = time.monotonic(), sum(os.times()[:4])
    step()
    return time.monotonic() - began, sum(os.times()[:4]) - worked


if __name__ == "__main__":
    main()
