# SPDX-License-Identifier: Apache-2.0
"""Programs that read streams read what the region publishes, unchanged."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from tests.jobs.conftest import Lab, check_region, files, images
from tests.jobs.mirror.conftest import Serve, get, key_file, keyring_of
from tests.support import venvs
from tests.support.databases import Databases
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db
from webapp.fetch import Fetcher
from webapp.mirror import pull
from webapp.models import BootSource, BootSourceSelection
from webapp.services.imports import importing, runs
from webapp.services.mirror import options
from webapp.storage.leases import new_owner
from webapp.streamclient import StreamSource, read_stream
from webapp.streams import urls

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def programs() -> Path:
    """The stock programs."""
    return venvs.installed("simplestreams", HERE / "simplestreams.txt")


def run(*command: object) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def held() -> dict[str, dict[str, str]]:
    """Every image that machines get, with its files and their digests."""
    return {image: files(image) for image in images()}


def test_gpgv_verifies_every_form_of_every_document(
    full_lab: Lab, serve: Serve, tmp_path: Path
) -> None:
    with serve("rack") as url:
        ring = key_file(url, tmp_path)
        index = get(f"{url}streams/v1/index.json")
        path = index.decode().split('"path": "')[1].split('"')[0].removesuffix(".json")
        for name in ("streams/v1/index", path):
            for suffix in (".sjson", ".json", ".json.gpg"):
                (tmp_path / f"document{suffix}").write_bytes(get(f"{url}{name}{suffix}"))
            document = tmp_path / "document"
            run("gpgv", "--keyring", ring, f"{document}.sjson")
            run("gpgv", "--keyring", ring, f"{document}.json.gpg", f"{document}.json")


@pytest.mark.parametrize("plane", ["rack", "web"])
def test_another_slipway_imports_the_same_images(
    plane: str,
    full_lab: Lab,
    serve: Serve,
    environ: dict[str, str],
    engine_databases: Databases,
    tmp_path: Path,
) -> None:
    first = held()
    assert len(first) > 5
    other = {**environ, "SLIPWAY_DATA_DIR": str(tmp_path / "other")}
    other["SLIPWAY_DATABASE_URL"] = engine_databases.migrated()
    app = create_app(Settings.load(other), plane="none")
    with serve(plane) as url, app.app_context():
        ring = get(f"{url}gpg.key")
        source = BootSource(url=url, name="first region", keyring_data=ring)
        db.session.add(source)
        db.session.flush()
        for os, release in sorted({tuple(image.split(" ")[0].split("/")) for image in first}):
            db.session.add(BootSourceSelection(source_id=source.id, os=os, release=release))
        db.session.commit()
        owner = new_owner()
        run_id = runs.queue("manual", "ann").id
        assert runs.claim(owner) is not None
        importing.execute(run_id, owner, lambda: False)
        db.session.expire_all()
        assert held() == first
        check_region()
        db.session.remove()
        db.engine.dispose()
    engine_databases.drop(other["SLIPWAY_DATABASE_URL"])


def test_the_stream_says_of_each_image_what_its_own_stream_said(
    full_lab: Lab, serve: Serve
) -> None:
    with serve("rack") as url, Fetcher() as fetcher:
        ours = read_stream(StreamSource(urls.normalise(url), keyring_of(url)), fetcher, {})
        theirs = full_lab.source
        address = urls.normalise(theirs.url)
        keyring = full_lab.mirror.keyring.read_bytes()
        from webapp.trust.keyrings import load_keyring

        upstream = read_stream(StreamSource(address, load_keyring(keyring)), fetcher, {})
    assert ours.warnings == ()
    offered = {offer.product: offer for offer in upstream.offers}
    assert len(ours.offers) == len(images())
    for offer in ours.offers:
        original = offered[offer.product]
        for name in (
            *("os", "release", "arch", "subarch", "kflavor", "label", "version", "title"),
            *("release_title", "release_codename", "release_version", "support_eol"),
            *("bootloader_type", "is_rolling", "subarches", "answers_to"),
        ):
            assert getattr(offer, name) == getattr(original, name), (offer.product, name)
        extras = {item.filename: (item.sha256, item.extra) for item in original.items}
        assert {item.filename: (item.sha256, item.extra) for item in offer.items} == extras


def test_slipway_mirror_pull_copies_the_whole_stream(
    full_lab: Lab, serve: Serve, tmp_path: Path
) -> None:
    with serve("rack") as url:
        report = pull(url, tmp_path / "copy", keyring_of(url))
        again = pull(url, tmp_path / "copy", keyring_of(url))
    digests = {sha256 for image in held().values() for sha256 in image.values()}
    assert {file.sha256 for file in report.fetched} == digests
    assert again.is_unchanged


@pytest.mark.slow
def test_sstream_mirror_and_sstream_query_read_it(
    full_lab: Lab, serve: Serve, programs: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    options.change("ada", prefix="maas/images")
    with serve("rack") as url:
        assert url.endswith("/maas/images/")
        ring = key_file(url, tmp_path)
        index = f"{url}streams/v1/index.sjson"
        lines = run(
            programs / "sstream-query",
            f"--keyring={ring}",
            "--output-format=%(product_name)s %(sha256)s",
            index,
            "os=ubuntu",
            "release=noble",
        ).splitlines()
        run(programs / "sstream-mirror", f"--keyring={ring}", url, copy, "arch=amd64")
    noble = {image: held()[image] for image in images() if image.startswith("ubuntu/noble ")}
    assert {line.split(" ")[1] for line in lines} == {
        sha256 for image in noble.values() for sha256 in image.values()
    }
    assert all(line.startswith("com.ubuntu.maas.stable:v3:boot:24.04:amd64:") for line in lines)
    stored = [path for path in copy.rglob("sha256/*/*") if path.is_file()]
    assert len(stored) > 5
    for path in stored:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.parent.name
