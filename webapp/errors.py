# SPDX-License-Identifier: Apache-2.0
"""The one structure of every error, and the one table of what each means to a client.

docs/problems.md shows the table to users; a test keeps both together, and
finds every code that is raised in it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """What a code means wherever it is raised.

    title: the same words for every problem of the kind. status: of an HTTP answer.
    retry_after_s: seconds after which a client may try again, 0 when that won't help.
    """

    title: str
    status: int = 422
    retry_after_s: int = 0


# A code ending in "-*" stands for all that begin like it and have no row of their own.
KINDS = {
    # Asking: who asks, for what, in which state.
    "problem": Kind("Not possible"),
    "invalid-fields": Kind("Values can't be used"),
    "not-found": Kind("Not found", 404),
    "conflict": Kind("Not possible in this state", 409),
    "lost-race": Kind("Changed by someone else at the same moment", 409),
    "locked": Kind("Locked against removal", 409),
    "changed-meanwhile": Kind("Changed since it was read", 412),
    "method": Kind("Method not allowed", 405),
    "refused": Kind("Request refused", 400),
    "body-too-large": Kind("Body too large", 413),
    "body-type": Kind("Unsupported content type", 415),
    "body-unreadable": Kind("Body can't be read", 400),
    "token-invalid": Kind("Not signed in", 401),
    "key-refused": Kind("API key refused", 401),
    "forbidden": Kind("Not allowed", 403),
    "code-required": Kind("Code required", 403),
    "sign-in-refused": Kind("Sign-in refused", 401),
    "enrolment-refused": Kind("Enrolment refused", 403),
    "setup-code-invalid": Kind("Setup link is no longer valid", 403),
    "inspection-busy": Kind("Another inspection is running", 429, 3),
    "too-many-attempts": Kind("Too many attempts", 429, 60),
    "draft-unreadable": Kind("Preview expired"),
    # Slipway itself.
    "internal": Kind("Internal error", 500),
    "address": Kind("Address can't be used", 500),
    "rack-engine": Kind("Engine of the rack can't be used", 500),
    "data-folder": Kind("Data folder can't be used", 500),
    "runs-already": Kind("Already running", 500),
    "setting-invalid": Kind("Setting can't be used"),
    "secret-unreadable": Kind("Stored secret can't be read", 500),
    "database": Kind("Database unavailable", 503, 5),
    "database-missing": Kind("No database", 503),
    "database-revision": Kind("Database schema doesn't match", 503),
    "backup": Kind("Backup failed", 500),
    "backup-damaged": Kind("Backup damaged", 500),
    "restore": Kind("Restore refused", 500),
    "restore-unfinished": Kind("Restore interrupted", 503),
    "names-unread": Kind("Image names not loaded yet", 503, 5),
    "api": Kind("Refused by the server", 500),
    "api-unreachable": Kind("Server unreachable", 500),
    # A rack on another machine.
    "rack": Kind("Rack can't do this", 500),
    "rack-*": Kind("Rack can't follow its region", 503, 5),
    # The store.
    "store": Kind("Store error", 503, 30),
    "store-full": Kind("Not enough disk space", 507),
    "store-unusable": Kind("Store unavailable", 503, 30),
    "store-missing": Kind("Store missing", 503, 30),
    "store-denied": Kind("Store refuses access", 503, 30),
    "store-unreachable": Kind("Store doesn't answer", 503, 30),
    "store-foreign": Kind("Store belongs to another Slipway", 503),
    "blob-busy": Kind("Bytes are being written", 409, 5),
    "output": Kind("Output can't be written", 500),
    "blob-damaged": Kind("Stored file damaged", 503),
    "blob-digest-invalid": Kind("Not a SHA-256 digest"),
    "blob-size-invalid": Kind("Not a size"),
    "blob-mismatch": Kind("Bytes don't match"),
    "blob-missing": Kind("Bytes are missing", 503),
    "blob-too-long": Kind("More bytes than declared"),
    "blob-too-short": Kind("Fewer bytes than declared"),
    "blob-vanished": Kind("Bytes were deleted", 503, 5),
    "blob-wrong-hash": Kind("Wrong digest"),
    # Fetching from another server.
    "http": Kind("Download failed"),
    "http-connection": Kind("Server unreachable"),
    "http-encoding": Kind("Unsupported content encoding"),
    "folder-refused": Kind("Folder not allowed"),
    "folder-unreadable": Kind("File can't be read"),
    "http-html": Kind("Web page instead of a file"),
    "http-invalid": Kind("Invalid HTTP response"),
    "http-proxy": Kind("Proxy refused"),
    "http-range": Kind("Wrong range"),
    "http-redirect": Kind("Redirect refused"),
    "http-short": Kind("Response truncated"),
    "http-slow": Kind("Server too slow"),
    "http-status": Kind("Error status"),
    "http-timeout": Kind("Server timed out"),
    "http-tls": Kind("TLS failed"),
    "http-too-large": Kind("Response too large"),
    "address-refused": Kind("Address not allowed"),
    "hash-mismatch": Kind("Wrong digest"),
    "login-in-clear": Kind("Login over plain HTTP refused"),
    "https-only": Kind("Plain HTTP refused"),
    "size-mismatch": Kind("Wrong size"),
    "stopped": Kind("Stopped"),
    "url-invalid": Kind("Invalid URL"),
    # Keys and signatures.
    "gpg-failed": Kind("gpg failed", 503),
    "gpg-missing": Kind("gpg isn't installed", 503),
    "gpg-timeout": Kind("gpg timed out", 503),
    "key-cannot-sign": Kind("Key can't sign"),
    "key-expired": Kind("Key expired"),
    "key-expires-soon": Kind("Key expires soon"),
    "key-in-future": Kind("Key from the future"),
    "key-invalid": Kind("Key invalid"),
    "key-revoked": Kind("Key revoked"),
    "key-weak": Kind("Key too short"),
    "keyring-damaged": Kind("Keyring damaged"),
    "keyring-empty": Kind("Keyring empty"),
    "keyring-missing": Kind("Keyring missing"),
    "keyring-not-a-key": Kind("Not a public key"),
    "keyring-not-regular": Kind("Keyring isn't a file"),
    "keyring-not-understood": Kind("Unsupported key"),
    "keyring-private": Kind("Private key"),
    "keyring-too-large": Kind("Keyring too large"),
    "keyring-unreadable": Kind("Keyring can't be read"),
    "keyring-unusable": Kind("Keyring can't be used"),
    "signing-failed": Kind("Signing failed", 503),
    "signing-key-missing": Kind("Signing key missing", 500),
    "signing-key-not-regular": Kind("Signing key isn't a file", 500),
    "signing-key-too-large": Kind("Signing key too large", 500),
    "signing-key-unreadable": Kind("Signing key can't be read", 500),
    "signature-bad": Kind("Bad signature"),
    "signature-cut-off": Kind("Signature truncated"),
    "signature-expired": Kind("Signature expired"),
    "signature-in-future": Kind("Signature from the future"),
    "signature-long-line": Kind("Line too long to be signed text"),
    "signature-malformed": Kind("Malformed signature"),
    "signature-missing": Kind("Signature missing"),
    "signature-not-a-document": Kind("Not a signed document"),
    "signature-not-regular": Kind("Signature isn't a file"),
    "signature-several": Kind("Several signatures"),
    "signature-text-after": Kind("Unsigned text after the signature"),
    "signature-text-before": Kind("Unsigned text before the signature"),
    "signature-too-large": Kind("Signature too large"),
    "signature-unknown-key": Kind("Signed by an untrusted key"),
    "signature-unreadable": Kind("Signature can't be read"),
    "signature-weak-hash": Kind("Weak hash in the signature"),
    "signature-wrong-kind": Kind("Wrong kind of signature"),
    "signature-wrong-type": Kind("Wrong type of signature"),
    # Streams.
    "document-bad-digest": Kind("Invalid digest in a document"),
    "document-bad-name": Kind("Invalid name in a document"),
    "document-bad-number": Kind("Invalid number in a document"),
    "document-bad-path": Kind("Invalid path in a document"),
    "document-bad-size": Kind("Invalid size in a document"),
    "document-bad-text": Kind("Invalid text in a document"),
    "document-bad-time": Kind("Invalid time in a document"),
    "document-duplicate-key": Kind("Duplicate key in a document"),
    "document-invalid": Kind("Invalid document"),
    "document-missing": Kind("Document missing"),
    "document-not-json": Kind("Document isn't JSON"),
    "document-not-regular": Kind("Document isn't a file"),
    "document-not-utf8": Kind("Document isn't UTF-8"),
    "document-path-conflict": Kind("Two files under one path"),
    "document-too-deep": Kind("Document nested too deeply"),
    "document-too-large": Kind("Document too large"),
    "document-too-many-values": Kind("Too many values in a document"),
    "document-too-much-content": Kind("Too much content in a document"),
    "document-unreadable": Kind("Document can't be read"),
    "document-wrong-format": Kind("Unknown document format"),
    "document-wrong-type": Kind("Wrong type in a document"),
    "filter-invalid": Kind("Invalid filter"),
    "stream-below": Kind("Streams are below this address"),
    "stream-changed-in-place": Kind("Stream changed in place"),
    "stream-empty": Kind("Stream is empty"),
    "stream-entry-skipped": Kind("Part of a stream skipped"),
    "stream-in-future": Kind("Stream from the future"),
    "stream-left-out": Kind("Part of a stream left out"),
    "stream-undated": Kind("Stream has no date"),
    "stream-incomplete": Kind("Stream incomplete"),
    "stream-index-loop": Kind("Index refers to itself"),
    "stream-mixed": Kind("Stream is being updated"),
    "stream-rollback": Kind("Stream went back in time"),
    "stream-stale": Kind("Stream is out of date"),
    "stream-too-large": Kind("Stream too large"),
    # Imports and mirrors.
    "import-guard": Kind("Import stopped to protect images", 409),
    "removal-unconfirmed": Kind("Removal needs a confirmation", 409),
    "plan-changed": Kind("The plan changed", 409),
    "outside-windows": Kind("No import window is open", 409),
    "name-taken": Kind("Name taken by an upload", 409),
    "size-conflict": Kind("One digest with two sizes"),
    "source-removed": Kind("Boot source removed", 409),
    "commissioning-release": Kind("Commissioning release must stay selected"),
    "source-unread": Kind("Boot source not read yet", 503, 5),
    "bundle": Kind("Bundle failed", 500),
    "bundle-busy": Kind("Folder in use", 500),
    "bundle-damaged": Kind("Bundle damaged", 500),
    "bundle-empty": Kind("No images to bundle", 500),
    "bundle-exists": Kind("Bundle finished already", 500),
    "bundle-folder": Kind("Folder can't be used", 500),
    "bundle-full": Kind("Not enough disk space", 500),
    "bundle-incomplete": Kind("Earlier bundle missing", 500),
    "bundle-invalid": Kind("Invalid bundle", 500),
    "bundle-missing": Kind("Bundle or piece missing", 500),
    "bundle-name": Kind("Invalid name", 500),
    "bundle-not-regular": Kind("Bundle isn't a file", 500),
    "bundle-too-large": Kind("Bundle's list too large", 500),
    "bundle-unreadable": Kind("Bundle can't be read", 500),
    "mirror": Kind("Mirror failed", 500),
    "mirror-bad-path": Kind("Invalid path", 500),
    "mirror-busy": Kind("Folder in use", 500),
    "mirror-folder": Kind("Folder can't be used", 500),
    "mirror-foreign": Kind("Folder isn't a mirror", 500),
    "mirror-full": Kind("Not enough disk space", 500),
    "mirror-incomplete": Kind("Mirror incomplete", 500),
    "mirror-nothing-wanted": Kind("Filters match nothing", 500),
    "mirror-state": Kind("Mirror state can't be read", 500),
    "images-missing": Kind("No images stored", 503),
    "images-on-racks-only": Kind("Images on racks only", 503),
    "rack-away": Kind("Rack not seen", 503),
    "rack-behind": Kind("Rack out of date", 503),
    # Uploads.
    "tus-version": Kind("Unsupported tus version", 412),
    "upload": Kind("Upload failed"),
    "upload-address": Kind("URL or path can't be fetched"),
    "upload-busy": Kind("Upload is busy", 423, 1),
    "upload-algorithm": Kind("Checksum algorithm not supported", 400),
    "upload-checksum": Kind("Checksum mismatch", 460),
    "upload-complete": Kind("Upload is complete", 409),
    "upload-cut": Kind("Upload interrupted"),
    "upload-empty": Kind("No data received"),
    "upload-offset": Kind("Wrong offset", 409),
    "upload-over": Kind("Upload has ended", 409),
    "upload-rejected": Kind("File rejected"),
    "upload-too-much": Kind("Too much data", 413),
    "upload-wrong-hash": Kind("Wrong digest"),
    # ESXi.
    "config-unreadable": Kind("Configuration can't be read"),
    "network-fix": Kind("Fix can't be applied"),
    "upload-*": Kind("File isn't what was declared"),
}


def kind_of(code: str) -> Kind:
    """The kind of a code; a code without a row is one of ``problem``."""
    family = f"{code.partition('-')[0]}-*"
    return KINDS.get(code) or KINDS.get(family) or KINDS["problem"]


class Problem(Exception):
    """Something went wrong that has a cause and a next step.

    Every layer raises subclasses of this; pages, the APIs, the command line and
    the failure rows of an import all show the same fields.

    code: stable machine word, e.g. ``signature-unknown-key``.
    what: one sentence for a person, without the file's or host's secrets.
    where: the URL, file, field or product it is about ("" when there is none).
    expected, got: the two sides of a failed check ("" when it was no check).
    next_step: what to do about it, as one sentence ("" when nothing helps).
    """

    code = "problem"

    def __init__(
        self,
        what: str,
        *,
        code: str | None = None,
        where: str = "",
        expected: str = "",
        got: str = "",
        next_step: str = "",
    ) -> None:
        super().__init__(what)
        self.code = code or type(self).code
        self.what = what
        self.where = where
        self.expected = expected
        self.got = got
        self.next_step = next_step

    @property
    def kind(self) -> Kind:
        """What its code means to a client."""
        return kind_of(self.code)

    def as_dict(self) -> dict[str, str]:
        """All fields, for a JSON answer or a failure row."""
        return {
            "code": self.code,
            "what": self.what,
            "where": self.where,
            "expected": self.expected,
            "got": self.got,
            "next_step": self.next_step,
        }

    def __str__(self) -> str:
        """The whole problem on one line, for logs and the command line."""
        parts = [self.what]
        if self.where:
            parts.append(f"Where: {self.where}.")
        if self.expected or self.got:
            parts.append(f"Expected {self.expected or 'nothing'}, got {self.got or 'nothing'}.")
        if self.next_step:
            parts.append(f"Next: {self.next_step}")
        return " ".join(parts)


class InvalidFields(Problem):
    """Input that a form or an API call must correct, field by field.

    fields: field name -> messages; ``__all__`` holds what is about several
    fields at once (rule: rest-answers).
    """

    code = "invalid-fields"

    def __init__(self, fields: dict[str, list[str]]) -> None:
        names = ", ".join(sorted(fields))
        super().__init__(
            "Some values can't be used: " + " ".join(m for ms in fields.values() for m in ms),
            where=names,
        )
        self.fields = fields


class NotFound(Problem):
    """It doesn't exist, or no longer does."""

    code = "not-found"


class Conflict(Problem):
    """It can't be done in the current state."""

    code = "conflict"


class BodyTooLarge(Problem):
    """The request's body is larger than what is accepted here."""

    code = "body-too-large"
