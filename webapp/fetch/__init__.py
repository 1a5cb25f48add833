# SPDX-License-Identifier: Apache-2.0
"""HTTP and allowed folders for boot sources: capped, timed, resumed; addresses under rule.

Nothing of the process environment is used (proxies, .netrc, CA variables).
"""

from webapp.fetch.addresses import is_in_clear
from webapp.fetch.client import Fetcher
from webapp.fetch.folders import Folders, is_file_url
from webapp.fetch.http import origin_of
from webapp.fetch.model import (
    Fetched,
    FetchProblem,
    Head,
    Limits,
    NotModified,
    Route,
    Stopped,
)
from webapp.fetch.problems import shown
from webapp.fetch.rate import Bucket

__all__ = [
    "Bucket",
    "FetchProblem",
    "Fetched",
    "Fetcher",
    "Folders",
    "Head",
    "Limits",
    "NotModified",
    "Route",
    "Stopped",
    "is_file_url",
    "is_in_clear",
    "origin_of",
    "shown",
]
