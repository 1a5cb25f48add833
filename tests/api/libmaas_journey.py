# SPDX-License-Identifier: Apache-2.0
"""What a script with python-libmaas does; run by test_libmaas.py in that client's own environment.

    python libmaas_journey.py URL KEY STREAM_URL KEYRING USERNAME PASSWORD

Prints one JSON object of what the client saw. Nothing of ours is imported here.
"""

import io
import json
import sys
import time

from maas import client
from maas.client.bones import CallError
from maas.client.viscera.boot_resources import BootResourceFileType


def refused(call):
    """The status and text of a call that the server must refuse."""
    try:
        call()
    except CallError as error:
        return [error.status, error.content.decode()]
    return None


def wait(condition, what):
    """Look again and again, for a minute."""
    for _ in range(600):
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit("waited for " + what)


def select(origin, source, release):
    """Select once the source has been read."""
    try:
        return origin.BootSourceSelections.create(source, "ubuntu", release, arches=["amd64"])
    except CallError as error:
        if error.status not in (400, 503):  # as MAAS answers, and as Slipway does
            raise
        return None


def main():
    url, key, stream, keyring, username, password = sys.argv[1:]
    seen = {}
    lab = client.connect(url, apikey=key)
    origin = lab._origin
    me = lab.users.whoami()
    seen["whoami"] = [me.username, me.is_admin]
    seen["version"] = list(lab.version.get().version_info)
    signed_in = client.login(url, username=username, password=password)
    seen["signed_in"] = signed_in.users.whoami().username

    with open(keyring, "rb") as file:
        source = lab.boot_sources.create(stream, keyring_data=io.BytesIO(file.read()))
    seen["source"] = source.url
    seen["listed"] = [row.url for row in lab.boot_sources.list()]
    seen["year"] = lab.boot_sources.get(source.id).created.year
    source.keyring_filename = keyring
    source.keyring_data = ""
    source.save()
    seen["keyring_filename"] = lab.boot_sources.get(source.id).keyring_filename

    noble = wait(lambda: select(origin, source, "noble"), "the catalogue")
    jammy = origin.BootSourceSelections.create(source, "ubuntu", "jammy")
    seen["defaults"] = [jammy.arches, jammy.subarches, jammy.labels]
    jammy.arches = ["amd64"]
    jammy.save()
    jammy.labels = ["stable", "*"]
    jammy.save()
    seen["selections"] = [
        [row.release, row.arches, row.labels] for row in origin.BootSourceSelections.read(source)
    ]

    importing = origin.BootResources._handler.is_importing
    seen["import"] = str(lab.boot_resources.start_import(), "ascii")
    wait(lambda: importing() is False, "the import")
    rows = lab.boot_resources.list()
    seen["names"] = sorted({row.name for row in rows})
    resource = lab.boot_resources.get(rows[0].id)
    newest = resource.sets[max(resource.sets)]
    seen["complete"] = newest.complete
    seen["files"] = {name: [f.size, f.sha256] for name, f in newest.files.items()}
    seen["stop"] = str(lab.boot_resources.stop_import(), "ascii")

    fractions = []
    data = bytes(range(256)) * 40000
    uploaded = lab.boot_resources.create(
        "custom/mine",
        "amd64/generic",
        io.BytesIO(data),
        title="Mine",
        filetype=BootResourceFileType.DDTGZ,
        progress_callback=fractions.append,
    )
    file = uploaded.sets[max(uploaded.sets)].files["root-dd"]
    seen["uploaded"] = [uploaded.name, uploaded.type, file.size == len(data)]
    seen["fractions"] = [round(fraction, 2) for fraction in fractions]
    seen["whole"] = lab.boot_resources.get(uploaded.id).sets[max(uploaded.sets)].complete
    again = lab.boot_resources.create("custom/twin", "amd64/generic", io.BytesIO(data))
    seen["sent_once"] = again.sets[max(again.sets)].complete
    seen["reserved"] = refused(
        lambda: lab.boot_resources.create("ubuntu/noble", "amd64/generic", io.BytesIO(data))
    )[0]
    again.delete()
    lab.boot_resources.get(uploaded.id).delete()

    resource.delete()
    seen["deleted"] = refused(lambda: lab.boot_resources.get(resource.id))
    seen["commissioning"] = refused(noble.delete)[0]
    jammy.delete()
    seen["left"] = [row.release for row in origin.BootSourceSelections.read(source)]
    seen["bad_source"] = refused(lambda: lab.boot_sources.create("nonsense"))
    source.delete()
    seen["no_source"] = refused(lambda: lab.boot_sources.get(source.id))

    credentials = lab.account.create_credentials()
    other = client.connect(url, apikey=str(credentials))
    seen["new_key"] = other.users.whoami().username
    lab.account.delete_credentials(credentials)
    seen["revoked"] = refused(other.users.whoami)[0]
    json.dump(seen, sys.stdout)


main()
