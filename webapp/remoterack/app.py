# SPDX-License-Identifier: Apache-2.0
"""A rack without a database, put together from its settings."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from webapp.config import Settings
from webapp.errors import Problem
from webapp.fetch import Route
from webapp.readiness import NO_BLOB, Readiness
from webapp.remoterack.agent import Agent
from webapp.remoterack.booting import HeldBoot, RemoteBoot, RemoteTftpNames, WholeFiles
from webapp.remoterack.errors import RackProblem
from webapp.remoterack.events import EventLog
from webapp.remoterack.filling import Fills, Wanted
from webapp.remoterack.following import KEY_PATH, KeptTrees, Trust
from webapp.remoterack.holding import Holding
from webapp.remoterack.region import Enrolment, Region
from webapp.remoterack.serving import NoUse, Opener, RemoteFiles
from webapp.remoterack.signatures import RegionSignatures
from webapp.remoterack.state import RackSettings, State
from webapp.remoterack.trees import HeldTrees
from webapp.remoterack.upstreams import Upstreams
from webapp.storage.filesystem import FilesystemStore

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

log = structlog.get_logger(__name__)

FOLDER = "rack"  # in the data folder: all that a rack knows, but for its bytes
CREDENTIAL = "credential.json"


def fingerprint_of(settings: Settings) -> str:
    """The key that signs the region's tree, pinned by the token or by itself.

    Raises RackProblem.
    """
    found = settings.rack_fingerprint or settings.rack_token.rpartition(".")[2]
    if not settings.region_url or not found:
        raise RackProblem(
            "A rack needs the URL of its region, and a token or the fingerprint of its key.",
            code="rack-settings",
            expected="SLIPWAY_REGION_URL, and SLIPWAY_RACK_TOKEN or SLIPWAY_RACK_FINGERPRINT",
            got="SLIPWAY_REGION_URL alone" if settings.region_url else "no SLIPWAY_REGION_URL",
            next_step="Copy the line from the region's page Racks, or from `slipway rack enrol`.",
        )
    if len(found) != 40 or any(c not in "0123456789abcdefABCDEF" for c in found):
        raise RackProblem(
            "This can't be the fingerprint of a signing key.",
            code="rack-settings",
            where="SLIPWAY_RACK_FINGERPRINT or the end of SLIPWAY_RACK_TOKEN",
            expected="40 hex digits",
            got=f"{len(found)} characters",
            next_step="Copy it from the region's page Local mirror: slipway mirror key",
        )
    return found.upper()


def prepare(settings: Settings) -> Path:
    """Make the folders and check the pin; the rack's folder. Raises Problem."""
    folder = settings.data_dir / FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RackProblem(
            "The data folder can't be used.",
            code="rack-folder",
            where=str(folder),
            got=error.strerror or str(error),
            next_step="Set SLIPWAY_DATA_DIR to a folder that this user can write to.",
        ) from error
    if settings.region_ca:
        _check_ca(settings.region_ca)
    Trust(folder, fingerprint_of(settings))
    store = FilesystemStore(settings.store_dir)
    store.prepare(create=True)
    store.check()
    return folder


def _check_ca(path: str) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # an ssl.SSLError is one
        raise RackProblem(
            "The region's CA can't be read.",
            code="rack-settings",
            where=f"SLIPWAY_REGION_CA={path}",
            expected="a PEM file with certificates",
            got=error.strerror or str(error),
            next_step="Copy the CA that signed the region's certificate to this file.",
        ) from error


def enrol_first(settings: Settings, folder: Path) -> None:
    """Enrol if need be. Raises RackProblem when the region refuses.

    A region that doesn't answer just now is no reason not to start.
    """
    if settings.rack_token and Enrolment.load(folder / CREDENTIAL) is None:
        try:
            enrol(settings, folder)
        except RackProblem as problem:
            if problem.code == "rack-token":
                raise
            log.warning("the rack isn't enrolled yet", **problem.as_dict())


def enrol(settings: Settings, folder: Path) -> Enrolment:
    """Enrol with the token. Raises RackProblem."""
    secret = settings.rack_token.rpartition(".")[0]
    name = settings.rack_name or socket.gethostname()
    path = folder / CREDENTIAL
    version = metadata.version("slipway")
    region = Region(settings.region_url, settings.region_ca)
    found = region.enrol(secret, name, settings.rack_url, version, path)
    log.info("the rack is enrolled", name=name, id=found.id)
    return found


class RemoteRack:
    """The rack as a WSGI application; ``start`` begins what runs beside it."""

    def __init__(self, settings: Settings) -> None:
        folder = prepare(settings)
        own = RackSettings(mode=settings.rack_mode, max_bytes=settings.rack_max_gb << 30 or None)
        trust = Trust(folder, fingerprint_of(settings))
        kept = KeptTrees(folder / "trees")
        found = kept.load(trust)
        if found:  # in case the power went between the two
            trust.learn(found[0].documents[KEY_PATH])
        trees = HeldTrees(found, settings.retire_grace)
        has_region = bool(settings.rack_token)
        state = State.load(folder / "state.json", own)
        if not has_region:
            state.settings = own
        store = FilesystemStore(settings.store_dir)
        holding = Holding(store)
        upstreams = Upstreams(
            (),
            lambda: state.settings.rate or 0,
            lambda root: route_to(
                root, settings.region_url, folder / CREDENTIAL, settings.region_ca
            ),
        )

        def note(problem: Problem) -> None:
            state.note(f"{problem.what} {problem.where}")

        def done(wanted: Wanted) -> None:
            holding.add(wanted.sha256, wanted.size)

        fills = Fills(
            store,
            upstreams,
            is_here=holding.has,
            make_room=lambda size: self.agent.make_room(size),
            on_bytes=lambda count: state.counts.add(fetched_bytes=count),
            on_done=done,
            on_problem=note,
        )
        events = EventLog(folder / "events.jsonl")
        boot = HeldBoot(trees, holding, note)
        boot.refresh()
        boot_files = RemoteBoot(trees, boot, events, settings.rack_url)
        boot_files.held = boot
        whole = WholeFiles(holding, fills, state.counts)
        self.tftp_names = RemoteTftpNames(trees, boot_files, whole, NoUse(), events)
        self.tftp_names.state = state
        self.files = RemoteFiles(
            trees,
            store,
            events,
            Opener(holding, fills, state.counts),
            NoUse(),
            trees,
            RegionSignatures(trees, upstreams),
            trusted_proxies=settings.trusted_proxies,
            boot=boot_files,
        )
        self.files.watch(state)
        self.agent = Agent(
            region=Region(settings.region_url, settings.region_ca) if has_region else None,
            enrol=lambda: enrol(settings, folder),
            enrolment=Enrolment.load(folder / CREDENTIAL),
            trust=trust,
            kept=kept,
            trees=trees,
            boot=boot,
            upstreams=upstreams,
            roots=lambda chosen, path: roots_of(settings, chosen, path),
            region_root=lambda path: region_root(settings, path),
            holding=holding,
            fills=fills,
            state=state,
            events=events,
            serving=self.files.served,
            status=folder / "status.json",
        )
        self._answer = Readiness(self.files, lambda: (trees.names(), store.stat(NO_BLOB)))
        self.extensions: dict[str, Any] = {"slipway.rack": self}
        self._beside: list[tuple[threading.Thread, Callable[[], None]]] = []

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        return self._answer(environ, start_response)

    def start(self) -> None:
        """Begin to follow, fetch, report and verify."""
        self.agent.start()

    def run_beside(self, run: Callable[[], None], leave: Callable[[], None]) -> None:
        """Run in a thread until ``close``, which calls ``leave``."""
        thread = threading.Thread(target=run, name="beside", daemon=True)
        thread.start()
        self._beside.append((thread, leave))

    def close(self) -> None:
        """End what ``start`` and ``run_beside`` began."""
        for thread, leave in self._beside:
            leave()
            thread.join(2.0)
        self.agent.close()


def region_root(settings: Settings, mirror_path: str) -> str:
    """The region's mirror."""
    return settings.region_url.rstrip("/") + "/" + mirror_path.strip("/") + "/"


def roots_of(settings: Settings, chosen: RackSettings, mirror_path: str) -> tuple[str, ...]:
    """The upstreams in order: this rack's setting, else the region's choice, else the region."""
    region = (region_root(settings, mirror_path),)
    roots = settings.rack_upstreams or chosen.upstreams or region
    return tuple(dict.fromkeys(root.rstrip("/") + "/" for root in roots))


def route_to(root: str, region_url: str, path: Path, ca_file: str = "") -> Route:
    """How to reach an upstream: the region alone gets the credential, as its other calls do."""
    if not root.startswith(region_url.rstrip("/") + "/"):
        return Route()
    enrolment = Enrolment.load(path)
    if enrolment is None:
        return Route(ca_file=ca_file)
    return Route(
        ca_file=ca_file, auth_kind="bearer", secret=enrolment.credential, is_clear_fine=True
    )
