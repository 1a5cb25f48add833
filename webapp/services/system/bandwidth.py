# SPDX-License-Identifier: Apache-2.0
"""The byte rate that all downloads of this process share, changed while they run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import cast

import structlog
from flask import Flask, current_app
from sqlalchemy.exc import SQLAlchemyError

from webapp.fetch import Bucket
from webapp.models import utcnow
from webapp.services.system import live_settings, rates, windows
from webapp.services.system.live_settings import DAY_RATE, NIGHT_HOURS, NIGHT_RATE, TIME_ZONE

REREAD_S = 0.9  # with the pause of a waiting download, a new rate holds within a second

log = structlog.get_logger(__name__)


def bucket() -> Bucket:
    """The one bucket of this process."""
    app = cast(Flask, current_app._get_current_object())  # type: ignore[attr-defined]
    found = app.extensions.get("slipway.bucket")
    # Of two threads that come first together one wins; setdefault is atomic.
    return cast(Bucket, found or app.extensions.setdefault("slipway.bucket", Bucket(LiveRate(app))))


def rate_now() -> int:
    """Bytes a second that all downloads together may take now; 0 without a limit."""
    values = live_settings.read_all()
    return rates.rate_at(
        utcnow(),
        str(values[DAY_RATE]),
        str(values[NIGHT_RATE]),
        str(values[NIGHT_HOURS]),
        windows.parse_zone(str(values[TIME_ZONE])),
    )


class LiveRate:
    """The rate of the settings, for any thread; read again every REREAD_S by one of them."""

    def __init__(self, app: Flask, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._clock = app, clock
        self._reading = threading.Lock()
        self._rate: int | None = None
        self._until = clock()

    def __call__(self) -> int:
        """Bytes a second; 0 without a limit."""
        if self._clock() >= self._until and self._reading.acquire(blocking=self._rate is None):
            try:
                if self._clock() >= self._until:
                    self._rate = self._read()
                    self._until = self._clock() + REREAD_S
            finally:
                self._reading.release()
        return self._rate or 0

    def _read(self) -> int:
        try:
            with self._app.app_context():
                return rate_now()
        except (SQLAlchemyError, ValueError) as error:
            log.warning("the download rate can't be read; the last one holds", error=str(error))
            return self._rate or 0
