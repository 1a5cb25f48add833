# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import select

from tests.rack import images
from tests.web.visitors import Visitor
from webapp.extensions import db
from webapp.models import Event, PublishedStream, ResourceType, Setting
from webapp.services.mirror import codesigning, keys, options, publishing, signatures
from webapp.services.mirror.options import Options

PAGE = "/local-mirror/"


@pytest.fixture(autouse=True)
def published(region: Flask) -> None:
    images.image(product="p:v3:noble")
    images.image(name="golden", os="", release="golden", rtype=ResourceType.UPLOADED)
    assert publishing.reconcile()


def test_a_viewer_sees_the_address_the_key_and_what_to_type(viewer: Visitor) -> None:
    page = viewer.get(PAGE).text
    signer = keys.signer()
    assert signer is not None
    assert "http://localhost:5248/mirror/" in page
    assert signer.fingerprint in page
    assert 'href="/mirror/gpg.key"' in page
    assert "slipway source add http://localhost:5248/mirror/ --keyring mirror.asc" in page
    assert "boot-sources create url=http://localhost:5248/mirror/" in page
    assert "Up to date" in page
    assert "2 images, 3 files" in " ".join(page.split())
    assert 'aria-current="page">Local mirror' in page
    assert "Turn off" not in page
    for action in ("switch", "offer", "rotate", "address"):
        assert viewer.post(f"{PAGE}{action}").status_code == 403
    assert viewer.get("/mirror/gpg.key").data == signer.public


def test_an_administrator_turns_it_off_and_on(administrator: Visitor) -> None:
    assert administrator.post(f"{PAGE}switch", {"on": "no"}).status_code == 303
    page = administrator.get(PAGE).text
    assert "The local mirror is off" in page
    assert "curl" not in page
    assert administrator.post(f"{PAGE}switch", {"on": "yes"}).status_code == 303
    assert "Waiting for the worker" in administrator.get(PAGE).text
    assert publishing.reconcile()
    assert "Up to date" in administrator.get(PAGE).text


def test_an_administrator_chooses_what_it_offers(administrator: Visitor) -> None:
    sent = {"which": "chosen", "image": "ubuntu/noble"}
    assert administrator.post(f"{PAGE}offer", sent).status_code == 303
    assert options.read() == Options(images=("ubuntu/noble",), has_uploads=False)
    assert publishing.reconcile()
    assert "1 image, 3 files" in " ".join(administrator.get(PAGE).text.split())
    administrator.post(f"{PAGE}offer", {"which": "chosen"})
    assert "Select at least one image" in administrator.get(PAGE).text
    assert options.read().images == ("ubuntu/noble",)
    administrator.post(f"{PAGE}offer", {"which": "all", "uploads": "yes"})
    assert options.read() == Options()


def test_an_administrator_creates_the_next_key(administrator: Visitor) -> None:
    administrator.post(f"{PAGE}rotate")
    assert "The worker creates the next key" in administrator.get(PAGE).text
    assert publishing.reconcile()
    assert "Next key" in administrator.get(PAGE).text
    administrator.post(f"{PAGE}rotate")
    assert "The next key is published already." in administrator.get(PAGE).text
    assert db.session.get(Setting, "mirror_rotation") is None


def test_readers_are_listed_with_what_they_have(viewer: Visitor) -> None:
    assert "No one has read the mirror." in viewer.get(PAGE).text
    revision = db.session.get_one(PublishedStream, 1).revision
    for address, read in (("10.0.0.7", revision), ("10.0.0.8", revision - 1)):
        detail = {"version": str(read), "requests": 3, "bytes": 5000, "status": 200}
        db.session.add(Event(kind="mirror.read", actor=address, subject="mirror", detail=detail))
    db.session.commit()
    page = viewer.get(PAGE).text
    assert page.index("10.0.0.8") < page.index("10.0.0.7")
    assert page.count("the current state") == 1
    assert page.count("an older state") == 1


def test_why_nothing_is_signed_is_shown_with_what_to_do(viewer: Visitor, region: Flask) -> None:
    [secret] = (region.extensions["slipway.settings"].data_dir / "signing").iterdir()
    secret.unlink()
    images.image(name="ubuntu/jammy", release="jammy")
    assert not publishing.reconcile()
    page = viewer.get(PAGE).text
    assert "The secret half of the signing key" in page
    assert "slipway mirror key --rotate --now" in page
    assert "Waiting for the worker" in page
    assert db.session.scalars(select(Event).where(Event.kind == "mirror.failed")).one()


def test_an_administrator_chooses_the_path(administrator: Visitor) -> None:
    wrong = administrator.post(f"{PAGE}address", {"prefix": "images/"})
    assert wrong.status_code == 422
    assert "Slipway itself uses /images/" in wrong.text
    assert 'aria-invalid="true"' in wrong.text
    done = administrator.post(f"{PAGE}address", {"prefix": "maas/images"})
    assert done.status_code == 303
    page = administrator.get(PAGE).text
    assert 'name="prefix" spellcheck="false" type="text" value="maas/images/"' in page
    assert "slipway source add http://localhost:5248/maas/images/" in page
    assert 'href="/maas/images/gpg.key"' in page


def test_no_path_of_the_mirror_hides_a_page(region: Flask) -> None:
    paths = {rule.rule.lstrip("/").partition("/")[0] for rule in region.url_map.iter_rules()}
    assert {path for path in paths if path and "<" not in path} <= options.RESERVED


def test_the_certificate_for_ipxe_is_given_out(viewer: Visitor) -> None:
    assert viewer.get(f"{PAGE}slipway-ca.crt").status_code == 404
    codesigning.reconcile()
    page = viewer.get(PAGE).text
    found = signatures.certificate()
    assert found.fingerprint in page
    assert "imgverify boot-kernel ${base}/boot-kernel.sig" in page
    assert "http://localhost:5248/images/ubuntu/amd64/ga-24.04/noble/stable" in page
    assert viewer.get(f"{PAGE}slipway-ca.crt").data == found.root


def test_it_says_how_images_get_to_a_site_without_a_network(viewer: Visitor) -> None:
    page = viewer.get(PAGE).text
    for words in ("slipway mirror bundle", "slipway mirror load", "--since"):
        assert words in page
