# SPDX-License-Identifier: Apache-2.0
"""A source that offers images."""

from __future__ import annotations

from datetime import date

import pytest
from flask import Flask

from tests.support import factories
from tests.web.images.boxes import offer
from webapp.models import (
    BootSource,
    utcnow,
)


@pytest.fixture
def source(region: Flask) -> BootSource:
    """A source that was read well and offers noble and jammy for two architectures, and CentOS.

    The context is another app's, so that every visitor's request still gets one of its own.
    """
    source = factories.boot_source(name="lab", checked_at=utcnow(), refreshed_at=utcnow())
    for release, version in (("noble", "24.04"), ("jammy", "22.04")):
        for arch in ("amd64", "arm64"):
            offer(source, release=release, arch=arch, release_version=version)
    offer(
        source,
        os="centos",
        release="centos70",
        release_version="7.0",
        subarch="generic",
        title="CentOS 7",
        release_title="CentOS 7",
        support_eol=date(2024, 6, 30),
    )
    return source


@pytest.fixture
def second(source: BootSource) -> BootSource:
    factories.selection(source)
    factories.boot_resource(source_id=source.id)
    return factories.boot_source(name="second", checked_at=utcnow())
