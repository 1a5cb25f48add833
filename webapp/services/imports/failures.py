# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in a run: saved at once, so that users see it during the run."""

from __future__ import annotations

import structlog
from sqlalchemy import delete, insert
from sqlalchemy.exc import IntegrityError

from webapp.errors import Problem
from webapp.extensions import db
from webapp.models import ImportFailure
from webapp.services.images.keys import Key

log = structlog.get_logger(__name__)


class Failures:
    """The failures of one run; what failed before it was resumed is tried again.

    urls: the addresses of its sources by id. keys: the images that are not to be had.
    """

    def __init__(self, run_id: int) -> None:
        self.urls: dict[int, str] = {}
        self.keys: set[Key] = set()
        self.count = 0
        self._run_id = run_id
        db.session.execute(delete(ImportFailure).where(ImportFailure.run_id == run_id))
        db.session.commit()

    def add(
        self,
        problem: Problem,
        source_id: int | None = None,
        key: Key | None = None,
        filename: str = "",
    ) -> None:
        """Write one down: about a file of an image, about an image, a source, or the run."""
        self.count += 1
        if key is not None:
            self.keys.add(key)
        row = {
            "run_id": self._run_id,
            "source_url": self.urls.get(source_id or 0, ""),
            "image": key.name if key else "",
            "architecture": key.architecture if key else "",
            "filename": filename,
            **problem.as_dict(),
        }
        log.warning("import problem", **{name: value for name, value in row.items() if value})
        try:
            db.session.execute(insert(ImportFailure).values(source_id=source_id, **row))
        except IntegrityError:  # the source was removed meanwhile
            db.session.rollback()
            db.session.execute(insert(ImportFailure).values(**row))
        db.session.commit()
