# SPDX-License-Identifier: Apache-2.0
"""What a rack says to its region, and what it's told: enrol, next, report."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from webapp.remoterack import jsonfiles
from webapp.remoterack.errors import RackProblem

WAIT_S = 25
CONNECT_S = 2.0
_ANSWER_S = 15.0
_API = "api/v1/racks/"
PREFIX = "slr_"  # of credentials; see services.racks.enrolling


@dataclass(frozen=True)
class Enrolment:
    """What the region gave this rack once. mirror_path: of its tree, with both slashes."""

    id: int
    credential: str
    mirror_path: str

    @classmethod
    def load(cls, path: Path) -> Enrolment | None:
        """The one that was kept."""
        tree = jsonfiles.read(path)
        try:
            return cls(int(tree["id"]), str(tree["credential"]), str(tree["mirror_path"]))
        except (KeyError, ValueError, TypeError):
            return None


class Region:
    """The region's calls for racks; two threads share it. ca_file: see fetch.Route."""

    def __init__(self, url: str, ca_file: str = "") -> None:
        self._url = url
        self._ca_file = ca_file
        self._local = threading.local()

    def enrol(self, token: str, name: str, url: str, version: str, path: Path) -> Enrolment:
        """Enrol with a token, and keep the answer for this user alone. Raises RackProblem.

        The credential is made here and kept first: if the answer is lost, the region knows
        this rack from another one with its name.
        """
        own = str(jsonfiles.read(path).get("own") or PREFIX + secrets.token_urlsafe(32))
        jsonfiles.write(path, {"own": own}, 0o600)
        body = {"token": token, "name": name, "url": url, "version": version}
        body["credential_sha256"] = hashlib.sha256(own.encode()).hexdigest()
        answer = self._call("POST", "enrol", json=body)
        try:
            # An earlier version of the region makes one.
            credential = str(answer["credential"]) or own
            found = Enrolment(int(answer["id"]), credential, str(answer["mirror_path"]))
        except (KeyError, ValueError, TypeError) as error:
            raise _odd(self._url) from error
        jsonfiles.write(
            path,
            {
                "id": found.id,
                "credential": found.credential,
                "mirror_path": found.mirror_path,
                "region": self._url,
            },
            0o600,
        )
        return found

    def next(self, credential: str, after: int, wait: int) -> Mapping[str, Any]:
        """What the region offers, once it isn't ``after``, or after so long. Raises RackProblem."""
        query = {"after": str(after), "wait": str(wait)}
        return self._call("GET", "self/next", credential, params=query, patience=wait)

    def report(self, credential: str, report: Mapping[str, Any]) -> int:
        """Report; the highest number of events that the region has. Raises RackProblem."""
        answer = self._call("POST", "self/report", credential, json=report)
        found = answer.get("events")
        return found if type(found) is int else 0

    def _call(
        self, method: str, path: str, credential: str = "", *, patience: float = 0.0, **how: Any
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        if credential:
            headers["Authorization"] = f"Bearer {credential}"
        try:
            answer = self._session().request(
                method,
                f"{self._url}{_API}{path}",
                headers=headers,
                timeout=(CONNECT_S, patience + _ANSWER_S),
                allow_redirects=False,
                **how,
            )
            tree = answer.json()
        except requests.exceptions.SSLError as error:
            raise RackProblem(
                "The region's certificate isn't trusted.",
                code="rack-region",
                where=self._url,
                got=str(error.args[0] if error.args else error)[:300],
                next_step="Set SLIPWAY_REGION_CA to a PEM file with the CA that signed it.",
            ) from None
        except (requests.RequestException, ValueError) as error:
            raise RackProblem(
                "The region doesn't answer.",
                code="rack-region",
                where=self._url,
                got=type(error).__name__,
                next_step="Check SLIPWAY_REGION_URL and the network. The rack keeps serving what "
                "it has, and tries again.",
            ) from None
        if answer.status_code in (200, 201) and isinstance(tree, dict):
            return tree
        is_refused = answer.status_code in (401, 403)
        problem = tree if isinstance(tree, dict) else {}
        said, step = problem.get("detail"), problem.get("next_step")
        raise RackProblem(
            str(said or "The region refused the request.")[:300],
            code="rack-token" if is_refused else "rack-region",
            where=f"{self._url}{_API}{path}",
            got=f"HTTP status {answer.status_code}",
            next_step="Create a token on the region's page Racks, and set SLIPWAY_RACK_TOKEN."
            if is_refused
            else str(step or "Check the region's log.")[:300],
        )

    def _session(self) -> requests.Session:
        """This thread's connections; nothing of the environment counts."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
            session.verify = self._ca_file or True
        return session


def _odd(where: str) -> RackProblem:
    return RackProblem(
        "The region's answer can't be read.",
        code="rack-region",
        where=where,
        next_step="Run the same version of Slipway on the region and on its racks.",
    )
