# SPDX-License-Identifier: Apache-2.0
"""Settings: the one typed place for everything that must be known at start.

Values come from ``SLIPWAY_*`` environment variables; a secret may also come
from a file named by ``SLIPWAY_…_FILE``. What users change while the system
runs lives in the database (models.events.Setting).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from webapp import setting_values as to
from webapp.setting_values import SettingsProblem

ROOT = Path(__file__).resolve().parent.parent
MASK = "********"
# What the command line reads to speak to another machine; no settings of this one.
CLIENT_NAMES = {"SLIPWAY_URL", "SLIPWAY_TOKEN", "SLIPWAY_TOKEN_FILE", "SLIPWAY_CACERT"}


def _set(default: str, text: str, parse: Callable[[str, str], Any], *, secret: bool = False) -> Any:
    # Secrets stay out of the repr, and so out of tracebacks and logs.
    return field(
        repr=not secret,
        metadata={"default": default, "help": text, "parse": parse, "secret": secret},
    )


@dataclass(frozen=True)
class Settings:
    """Every setting, typed and checked. ``{data}`` in a default is the data folder."""

    data_dir: Path = _set("./var", "Data directory (database, images, secrets)", to.path)
    database_url: str = _set(
        "sqlite:///{data}/slipway.db",
        "Region's database: sqlite or postgresql",
        to.database_url,
        secret=True,
    )
    store: str = _set(
        "filesystem",
        "Where image bytes live: filesystem, database or s3",
        to.choice("filesystem", "database", "s3"),
    )
    store_dir: Path = _set("{data}/store", "Folder of the filesystem store", to.path)
    s3_endpoint: str = _set(
        "",
        "URL of the object storage; empty: Amazon's for the region",
        lambda name, value: to.http_url(name, value) if value else "",
    )
    s3_bucket: str = _set("", "Bucket of the object store; it has to exist", to.text)
    s3_prefix: str = _set("", "Start of all keys in the bucket, for Slipway alone", to.prefix)
    s3_region: str = _set("us-east-1", "Region of the bucket", to.text)
    s3_access_key: str = _set("", "Access key of the object storage", to.text, secret=True)
    s3_secret_key: str = _set("", "Secret key of the object storage", to.text, secret=True)
    s3_ca: str = _set("", "PEM file that the object storage's certificate is checked with", to.text)
    s3_style: str = _set(
        "path", "Where its URLs name the bucket: path or virtual", to.choice("path", "virtual")
    )
    s3_part_mb: int = _set("16", "MiB sent to it in one request", to.number(5, 1024))
    s3_redirect: bool = _set(
        "off", "Send machines to presigned URLs of the object storage", to.switch
    )
    queue_url: str = _set(
        "sqlite:///{data}/queue.db", "Queue that wakes the worker", to.queue_url, secret=True
    )
    web_bind: str = _set("0.0.0.0:5240", "Address and port of the web UI and APIs", to.bind)
    rack_bind: str = _set("0.0.0.0:5248", "Address and port that machines fetch from", to.bind)
    tftp_bind: str = _set(
        "",
        "Address and port for TFTP, e.g. 0.0.0.0:69; empty: off",
        lambda name, value: to.bind(name, value) if value else "",
    )
    public_url: str = _set(
        "",
        "Public URL of the web UI; https turns on secure cookies",
        lambda name, value: to.http_url(name, value) if value else "",
    )
    rack_url: str = _set(
        "",
        "URL of the rack as machines see it, for URLs on pages",
        lambda name, value: to.http_url(name, value) if value else "",
    )
    secret_key: str = _set(
        "",
        "Signs cookies and encrypts stored passwords; generated if unset",
        to.text,
        secret=True,
    )
    default_source_url: str = _set(
        "https://images.maas.io/ephemeral-v3/daily/",
        "Boot source created at first start",
        to.http_url,
    )
    default_keyring: str = _set(
        "/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg", "Keyring of that source", to.text
    )
    default_release: str = _set("noble", "Ubuntu release selected at first start", to.text)
    defaults: bool = _set("on", "Create the default source and selection at first start", to.switch)
    single_source: bool = _set(
        "off", "Make pages read-only if there is more than one source", to.switch
    )
    import_interval: int = _set("60", "Minutes between automatic imports", to.number(1, 10080))
    downloads: int = _set("2", "Files downloaded in parallel", to.number(1, 16))
    retire_grace: int = _set(
        "1800",
        "Seconds to keep a replaced version for machines still booting",
        to.number(0, 31 * 86400),
    )
    bin_hours: int = _set(
        "24", "Hours a removed image stays in the bin; 0: no bin", to.number(0, 24 * 365)
    )
    keep_versions: int = _set(
        "2", "Versions to keep of an image from a boot source", to.number(1, 100)
    )
    keep_days: int = _set(
        "0",
        "Days to keep an older version after a machine last fetched it; 0: off",
        to.number(0, 3650),
    )
    keep_uploads: int = _set("3", "Versions of an uploaded image to keep", to.number(1, 100))
    upload_max_gb: int = _set("64", "Maximum size of an upload, in GiB", to.number(1, 4096))
    import_dir: Path = _set("{data}/import", "Folder for uploads by server path", to.path)
    upload_days: int = _set("7", "Days before an abandoned upload is discarded", to.number(1, 365))
    stale_days: int = _set("14", "Days before an index counts as stale", to.number(1, 3650))
    metadata_max_mb: int = _set(
        "64", "Maximum size of an index or products file, in MiB", to.number(1, 1024)
    )
    file_sources: tuple[Path, ...] = _set(
        "", "Folders whose subfolders can be boot sources (file:///…); empty: none", to.folders
    )
    deny_networks: tuple[str, ...] = _set(
        "", "Networks boot sources may not use, as well as link-local", to.networks
    )
    allow_networks: tuple[str, ...] = _set(
        "", "The only networks that boot sources and proxies may use; empty: any", to.networks
    )
    metrics_token: str = _set(
        "",
        "Token that Prometheus sends to read /metrics; see docs/metrics.md",
        to.text,
        secret=True,
    )
    metrics_networks: tuple[str, ...] = _set(
        "", "Networks that may read /metrics without a token", to.networks
    )
    fetch_https_only: bool = _set(
        "off", "Whether boot sources and uploads by URL must use https", to.switch
    )
    web_workers: int = _set("2", "Processes for the web UI and APIs", to.number(1, 64))
    web_threads: int = _set("16", "Threads per process", to.number(1, 1024))
    rack_workers: int = _set("2", "Processes for machines", to.number(1, 64))
    rack_threads: int = _set("128", "Threads per process (one per machine)", to.number(1, 4096))
    rack_connections: int = _set(
        "100",
        "Connections that one address may have to the rack, counted by each process; 0: no limit",
        to.number(0, 100_000),
    )
    rack_engine: str = _set(
        "gunicorn",
        "What sends files to machines: gunicorn, nginx, or auto (nginx where it's installed)",
        to.choice("gunicorn", "nginx", "auto"),
    )
    accel_prefix: str = _set(
        "",
        "nginx location for X-Accel-Redirect, e.g. /_store/; empty: send files directly",
        to.accel,
    )
    trusted_proxies: int = _set(
        "0", "Number of trusted reverse proxies (X-Forwarded-* headers)", to.number(0, 8)
    )
    sign_command: str = _set(
        "",
        "Command that signs the local mirror in place of Slipway's own key; run without a shell",
        to.command,
    )
    sign_key: str = _set("", "Public key of that command: a file", to.text)
    sign_passphrase: str = _set(
        "",
        "Passphrase of Slipway's own signing keys; used when a key is created",
        to.text,
        secret=True,
    )
    imgverify_key: str = _set(
        "", "PEM file with your own code signing key and certificates, for iPXE", to.text
    )
    region_url: str = _set(
        "",
        "URL of the region that a rack on another machine follows (slipway run --role rack)",
        lambda name, value: to.http_url(name, value) if value else "",
    )
    region_ca: str = _set(
        "", "PEM file with the only CAs to trust for that URL, if it's https", to.text
    )
    rack_token: str = _set("", "Token that enrols such a rack", to.text, secret=True)
    rack_fingerprint: str = _set(
        "", "Fingerprint of the region's mirror key, in place of a token", to.text
    )
    rack_name: str = _set("", "Name of such a rack at its region; empty: the host's name", to.text)
    rack_upstreams: tuple[str, ...] = _set(
        "", "URLs of mirrors that such a rack fetches from, in order", to.urls
    )
    rack_mode: str = _set(
        "on-demand",
        "What a rack without a token fetches in advance: everything or nothing (on-demand)",
        to.choice("on-demand", "everything"),
    )
    rack_max_gb: int = _set(
        "0", "Size of the store of a rack without a token, in GiB; 0: no limit", to.number(0, 10**6)
    )
    scrub_days: int = _set(
        "30", "Days within which every stored file is re-checked; 0: never", to.number(0, 3650)
    )
    scrub_rate: int = _set(
        "20", "Maximum MiB per second for that check; 0: no limit", to.number(0, 100_000)
    )
    run_days: int = _set("90", "Days to keep the history of imports", to.number(1, 3650))
    event_days: int = _set("90", "Days to keep events", to.number(1, 3650))
    event_rows: int = _set("200000", "Maximum number of events kept", to.number(1000, 10**8))
    log_level: str = _set(
        "info", "Minimum log level", to.choice("debug", "info", "warning", "error")
    )
    log_format: str = _set("text", "Log format: text or json", to.choice("text", "json"))
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Settings:
        """Read every setting from the environment; touches nothing but ``…_FILE`` secrets.

        Raises SettingsProblem for the first wrong value.
        """
        data = to.path("SLIPWAY_DATA_DIR", environ.get("SLIPWAY_DATA_DIR") or "./var")
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for spec in setting_fields():
            name = env_name(spec.name)
            text, origin = _read(environ, name, spec.metadata["secret"])
            if text is None:
                text, origin = spec.metadata["default"].replace("{data}", str(data)), "default"
            values[spec.name] = spec.metadata["parse"](name, text)
            origins[spec.name] = origin
        return cls(**values, origins=origins)

    def prepared(self) -> Settings:
        """Make the data folder and the secret key where they are missing.

        The key is kept in ``secret.key`` (mode 0600) so that sessions and
        encrypted passwords outlive a restart.
        """
        try:
            self.data_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
            if self.secret_key:
                return self
            path = self.data_dir / "secret.key"
            kept = replace(self, secret_key=_kept_key(path))
        except OSError as error:
            raise SettingsProblem(
                "The data folder can't be used.",
                where=str(self.data_dir),
                expected="a folder that this user can write to",
                got=error.strerror or str(error),
                next_step="Set SLIPWAY_DATA_DIR to such a folder, or change its owner.",
            ) from error
        return replace(kept, origins={**self.origins, "secret_key": f"kept in {path}"})

    @property
    def is_https(self) -> bool:
        """Whether users reach the pages over TLS."""
        return self.public_url.startswith("https:")


def setting_fields() -> list[Any]:
    """The dataclass fields that are settings, in their order of definition."""
    return [spec for spec in fields(Settings) if "parse" in spec.metadata]


def env_name(field_name: str) -> str:
    """The environment variable of a field."""
    return "SLIPWAY_" + field_name.upper()


def table(settings: Settings) -> list[tuple[str, str, str, str]]:
    """(name, value, where it came from, help) of every setting, secrets masked."""
    rows = []
    for spec in setting_fields():
        value = getattr(settings, spec.name)
        rows.append(
            (
                env_name(spec.name),
                _shown(value, spec.metadata["secret"]),
                settings.origins.get(spec.name, "code"),
                spec.metadata["help"],
            )
        )
    return rows


def _shown(value: Any, is_secret: bool) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    text = str(value)
    if not is_secret or not text:
        return text
    parts = urlsplit(text) if "://" in text else None
    if parts is None:
        return MASK
    # A database address is only secret in its password (and in what follows a "?").
    host = parts.netloc.rpartition("@")[2]
    user = parts.netloc.rpartition("@")[0].partition(":")
    account = user[0] + (f":{MASK}" if user[1] else "") + "@" if user[0] else ""
    return f"{parts.scheme}://{account}{host}{parts.path}" + (f"?{MASK}" if parts.query else "")


def _read(environ: Mapping[str, str], name: str, is_secret: bool) -> tuple[str | None, str]:
    if environ.get(name):
        return environ[name], "environment"
    path = environ.get(name + "_FILE") if is_secret else None
    if not path:
        return None, ""
    try:
        return Path(path).read_text().strip(), f"file {path}"
    except (OSError, UnicodeDecodeError) as error:
        raise to.refuse(name + "_FILE", "the path of a readable text file", path) from error


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """SLIPWAY_ names that mean nothing here: most likely misspelt, so they are shown."""
    known = {env_name(spec.name) for spec in setting_fields()} | CLIENT_NAMES
    known |= {env_name(s.name) + "_FILE" for s in setting_fields() if s.metadata["secret"]}
    return sorted(n for n in environ if n.startswith("SLIPWAY_") and n not in known)


def _kept_key(path: Path) -> str:
    """Read the kept key, or make it once; two processes at a first start agree on one."""
    if not path.exists():
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)  # fails when another process was first: its file counts
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()
