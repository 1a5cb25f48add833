# SPDX-License-Identifier: Apache-2.0
"""Keep a copy of a boot source in a folder, in the stream's own layout.

The folder can be served by any web server and be a boot source itself. Files
come first and the index last, so that a reader never sees an index that names
what is not there.

With a filter or fewer versions the signed documents stay whole, since only their
publisher can sign others: they list files that this copy does not have, and its
readers must select what it holds.
"""

from webapp.mirror.model import PullProgress, PullReport, WantedFile
from webapp.mirror.pulling import pull

__all__ = ["PullProgress", "PullReport", "WantedFile", "pull"]
