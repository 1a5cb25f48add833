# SPDX-License-Identifier: Apache-2.0
"""Rows for tests: each call adds one with plain values, and what it needs around it.

Every factory commits, so that other connections (a client's, a worker's) see the row.
They work inside an app context: the ``region`` fixture, or ``with app.app_context()``.
"""

from __future__ import annotations

import hashlib
import itertools
from datetime import date
from typing import Any, TypeVar

from webapp.extensions import db
from webapp.models import (
    Base,
    Blob,
    BootResource,
    BootSource,
    BootSourceCache,
    BootSourceSelection,
    FileTransfer,
    ImportRun,
    Rack,
    ResourceFile,
    ResourceSet,
    User,
    utcnow,
)

_numbers = itertools.count(1)
Row = TypeVar("Row", bound=Base)


def saved(row: Row) -> Row:
    """Add a row and commit."""
    db.session.add(row)
    db.session.commit()
    return row


def boot_source(**values: Any) -> BootSource:
    """A source with a keyring by path."""
    defaults = {
        "url": f"http://mirror{next(_numbers)}.example.test/ephemeral-v3/stable/",
        "name": "example",
        "keyring_filename": "/usr/share/keyrings/example.gpg",
    }
    return saved(BootSource(**{**defaults, **values}))


def cache_entry(source: BootSource | None = None, **values: Any) -> BootSourceCache:
    """A product that a source offers: noble's GA kernel for amd64 by default."""
    source = source or boot_source()
    version = values.get("release_version", "24.04")
    arch, release = values.get("arch", "amd64"), values.get("release", "noble")
    subarch = values.get("subarch", f"ga-{version}")
    items = [item(ftype) for ftype in ("boot-kernel", "boot-initrd", "squashfs")]
    defaults: dict[str, Any] = {
        "product": f"com.ubuntu.maas.stable:v3:boot:{version}:{arch}:{subarch}",
        "os": "ubuntu",
        "arch": arch,
        "subarch": subarch,
        "release": release,
        "kflavor": "generic",
        "label": "stable",
        "version": "20260105",
        "title": "Ubuntu",
        "release_title": f"{version} LTS",
        "release_codename": "Noble Numbat",
        "release_version": version,
        "support_eol": date(2029, 5, 31),
        "support_esm_eol": date(2034, 4, 25),
        "subarches": ["generic", subarch],
        "answers_to": ["generic", subarch],
        "items": items,
        "size": sum(int(i["size"]) for i in values.get("items", items)),
    }
    return saved(BootSourceCache(source_id=source.id, **{**defaults, **values}))


def item(ftype: str, content: bytes = b"", **values: Any) -> dict[str, Any]:
    """An item as ``streams.mapping.Item.as_dict`` writes it; new content each time."""
    content = content or b"%s %d" % (ftype.encode(), next(_numbers))
    defaults = {
        "filename": ftype,
        "ftype": ftype,
        "path": f"noble/amd64/20260105/{ftype}",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "extra": {},
    }
    return {**defaults, **values}


def selection(source: BootSource | None = None, **values: Any) -> BootSourceSelection:
    """What an administrator wants: noble for amd64 by default."""
    source = source or boot_source()
    defaults: dict[str, Any] = {"os": "ubuntu", "release": "noble", "arches": ["amd64"]}
    return saved(BootSourceSelection(source_id=source.id, **{**defaults, **values}))


def blob(content: bytes = b"", **values: Any) -> Blob:
    """A ready blob's row; the bytes are put into the store by who needs them there."""
    content = content or b"blob %d" % next(_numbers)
    defaults = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "state": "ready",
        "verified_at": utcnow(),
    }
    return saved(Blob(**{**defaults, **values}))


def boot_resource(
    files: dict[str, bytes] | None = None, *, is_current: bool = True, **values: Any
) -> BootResource:
    """A stored image with one complete set; ``files`` gives the content by file name."""
    arch, subarch = values.get("arch", "amd64"), values.get("subarch", "ga-24.04")
    os_name, release = values.get("os", "ubuntu"), values.get("release", "noble")
    defaults: dict[str, Any] = {
        "name": f"{os_name}/{release}",
        "architecture": f"{arch}/{subarch}",
        "os": os_name,
        "release": release,
        "arch": arch,
        "subarch": subarch,
        "kflavor": "generic",
        "title": "24.04 LTS",
        "subarches": ["generic", subarch],
        "answers_to": ["generic", subarch],
    }
    resource = saved(BootResource(**{**defaults, **values}))
    stored = resource_set(resource, files)
    if is_current:
        resource.current_set_id = stored.id
        db.session.commit()
    return resource


def resource_set(
    resource: BootResource, files: dict[str, bytes] | None = None, **values: Any
) -> ResourceSet:
    """A complete version of an image, with a kernel, an initrd and a root file system."""
    names = ("boot-kernel", "boot-initrd", "squashfs")
    content = files or {name: b"%s %d" % (name.encode(), next(_numbers)) for name in names}
    defaults = {"version": "20260105", "label": "stable", "completed_at": utcnow()}
    made = saved(ResourceSet(resource_id=resource.id, **{**defaults, **values}))
    for name, data in content.items():
        saved(ResourceFile(set_id=made.id, blob_id=blob(data).id, filename=name, ftype=name))
    return made


def import_run(**values: Any) -> ImportRun:
    """A run that succeeded, by default."""
    defaults = {"state": "succeeded", "finished_at": utcnow()}
    return saved(ImportRun(**{**defaults, **values}))


def file_transfer(run: ImportRun, **values: Any) -> FileTransfer:
    """One file of a run, done by default."""
    defaults = {
        "image": "ubuntu/noble",
        "architecture": "amd64/ga-24.04",
        "version": "20260105",
        "filename": "squashfs",
        "path": "noble/amd64/20260105/squashfs",
        "sha256": hashlib.sha256(b"transfer %d" % next(_numbers)).hexdigest(),
        "size": 1000,
        "bytes_done": 1000,
        "state": "done",
    }
    return saved(FileTransfer(run_id=run.id, **{**defaults, **values}))


def user(username: str = "", password_hash: str = "!", **values: Any) -> User:
    """A user; without a hash nobody can sign in with a password."""
    name = username or f"user{next(_numbers)}"
    return saved(User(username=name, password_hash=password_hash, **values))


def rack(**values: Any) -> Rack:
    """An enrolled rack that was never seen."""
    name = f"rack-{next(_numbers)}"
    return saved(Rack(**{"name": name, "system_id": name, "credential_hash": name, **values}))
