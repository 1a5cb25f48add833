# SPDX-License-Identifier: Apache-2.0
"""What becomes of an upload by REST 2.0 when its last byte is there (rule: rest-uploads).

Its clients expect that machines can boot it when that request is answered, so it is
published at once and inspected afterwards. What machines can't boot as it is waits for
the worker instead, which converts and publishes it; until then it isn't complete.
"""

from __future__ import annotations

from webapp.extensions import db
from webapp.models import Upload, UploadState
from webapp.services.system.wake import wake
from webapp.services.uploads import checking, finishing


def complete(upload: Upload) -> None:
    """Publish it, or leave it to the worker. Raises as ``finishing.finish`` does."""
    if not hand_over(upload):
        finishing.finish(upload)


def hand_over(upload: Upload) -> bool:
    """Leave it to the worker if it has to be converted; returns whether that is so.

    Raises WrongDigest.
    """
    if not upload.size or not checking.is_convertible(upload):
        return False
    finishing.verify(upload)
    upload.received, upload.state = upload.size, UploadState.CHECKING
    upload.is_checked_first = True
    db.session.commit()
    wake()
    return True
