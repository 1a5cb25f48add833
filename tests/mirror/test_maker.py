# SPDX-License-Identifier: Apache-2.0
"""A made mirror is what the published one is: signed, complete, and it moves on."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.mirror import bootfiles, catalogue, maker
from tests.mirror.maker import Documents, Mirror, make_mirror
from tests.support import signed


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    return make_mirror(tmp_path_factory.mktemp("made"), signed.new_key(), detached=True)


def verified(mirror: Mirror, name: str) -> dict[str, Any]:
    """The document as gpgv hands it back after checking it against the mirror's keyring."""
    path = mirror.stream / "streams" / "v1" / f"{name}.sjson"
    command = ["gpgv", "--keyring", str(mirror.keyring), "--output", "-", str(path)]
    done = subprocess.run(command, capture_output=True, check=True)
    return dict(json.loads(done.stdout))


def test_every_document_verifies_and_is_what_the_index_names(made: Mirror) -> None:
    index = verified(made, "index")
    assert index["format"] == "index:1.0"
    assert set(index["index"]) == set(made.documents)
    for content_id, entry in index["index"].items():
        assert entry["path"] == f"streams/v1/{content_id}.sjson"
        document = verified(made, Path(entry["path"]).stem)
        assert document["content_id"] == content_id
        assert sorted(document["products"]) == entry["products"]


def test_detached_signatures_verify_too(made: Mirror) -> None:
    index = json.loads((made.stream / "streams" / "v1" / "index.json").read_bytes())
    assert {Path(entry["path"]).suffix for entry in index["index"].values()} == {".json"}
    for path in sorted((made.stream / "streams" / "v1").glob("*.json")):
        signature = path.with_name(path.name + ".gpg")
        command = ["gpgv", "--keyring", str(made.keyring), "-", str(path)]
        armored = subprocess.run(
            ["gpg", "--dearmor"], input=signature.read_bytes(), capture_output=True, check=True
        )
        subprocess.run(command, input=armored.stdout, capture_output=True, check=True)


def test_another_key_does_not_verify(made: Mirror, tmp_path: Path) -> None:
    tmp_path.joinpath("other.gpg").write_bytes(signed.new_key("Other <o@example.test>").public)
    index = made.stream / "streams" / "v1" / "index.sjson"
    command = ["gpgv", "--keyring", str(tmp_path / "other.gpg"), str(index)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_every_named_file_is_there_with_its_size_and_digest(made: Mirror) -> None:
    assert made.items()
    for item in made.items():
        content = (made.stream / item.path).read_bytes()
        assert len(content) == item.size
        assert hashlib.sha256(content).hexdigest() == item.sha256


def test_the_same_recipe_gives_the_same_bytes(made: Mirror, tmp_path: Path) -> None:
    again = make_mirror(tmp_path, signed.new_key())
    other = make_mirror(tmp_path / "other", signed.new_key(), seed="other", releases=["noble"])
    assert again.sha256 == made.sha256
    assert not set(other.items(ftype="squashfs")) & set(made.items(ftype="squashfs"))


def test_the_next_day_has_new_builds_and_keeps_the_old_files(tmp_path: Path) -> None:
    mirror = make_mirror(tmp_path, signed.new_key(), releases=["noble"], arches=["amd64"])
    before, day = {i.path for i in mirror.newest(ftype="squashfs")}, mirror.updated
    oldest = min(i.path for i in mirror.items(ftype="squashfs"))
    mirror.publish_next()
    after = {i.path for i in mirror.newest(ftype="squashfs")}
    assert not before & after
    assert (mirror.updated - day).days == 1
    assert before < set(mirror.sizes)
    assert (mirror.stream / oldest).is_file()
    mirror.publish_next(prune=True)
    assert not (mirror.stream / oldest).exists()
    assert all((mirror.stream / path).is_file() for path in mirror.sizes)


def test_an_edited_document_is_signed_as_edited(tmp_path: Path) -> None:
    mirror = make_mirror(tmp_path, signed.new_key(), releases=["noble"], arches=["amd64"])

    def drop_centos(documents: Documents) -> None:
        documents["com.ubuntu.maas:stable:centos-bases-download"]["products"].clear()

    mirror.publish(edit=drop_centos)
    index = verified(mirror, "index")["index"]
    assert index["com.ubuntu.maas:stable:centos-bases-download"]["products"] == []


def test_options_add_esxi_and_ubuntu_core(tmp_path: Path) -> None:
    mirror = make_mirror(
        tmp_path, signed.new_key(), releases=[], loaders=False, esxi=True, ubuntu_core=True
    )
    assert {i.ftype for i in mirror.items(os="esxi")} == {"root-dd.gz"}
    assert {i.ftype for i in mirror.items(os="ubuntu-core")} == {"root-dd.xz"}


def test_the_catalogue_has_every_kernel_once() -> None:
    names = [(k.codename, k.arch, k.name) for k in catalogue.kernels()]
    assert len(names) == len(set(names)) == 242


def test_an_unknown_release_is_an_error() -> None:
    with pytest.raises(ValueError, match="zany"):
        maker.choose(["zany"], ["amd64"], 0)


def test_the_command_line_makes_the_same_mirror_a_day_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [str(tmp_path), "--releases", "noble", "--arches", "amd64", "--kernels", "1"]
    maker.main(options)
    first = json.loads(capsys.readouterr().out)
    maker.main([*options, "--generation", "1"])
    second = json.loads(capsys.readouterr().out)
    assert first["fingerprint"] == second["fingerprint"]
    assert (tmp_path / "keys" / "secret.asc").stat().st_mode & 0o077 == 0
    assert len(list((tmp_path / "www/ephemeral-v3/stable/noble/amd64").iterdir())) == 3


@pytest.mark.slow
def test_real_boot_files_are_in_the_newest_build(tmp_path: Path) -> None:
    real = bootfiles.find()
    mirror = make_mirror(
        tmp_path, signed.new_key(), releases=["noble"], arches=["amd64"], boot_files=real
    )
    kernels = {i.path: i for i in mirror.newest(os="ubuntu", ftype="boot-kernel")}
    digest = hashlib.sha256(real.kernel.read_bytes()).hexdigest()
    assert digest in {kernel.sha256 for kernel in kernels.values()}
    assert real.note
