# SPDX-License-Identifier: Apache-2.0
"""The region's database: tables and their invariants, one module a subject."""

from webapp.models.accounts import (
    APIKey,
    APINonce,
    APIToken,
    LoginSession,
    LoginThrottle,
    Role,
    User,
)
from webapp.models.base import Base, utcnow
from webapp.models.boot import BootEntry
from webapp.models.events import Event, Publication, Setting
from webapp.models.mirror import (
    CodeCertificate,
    CodeSignature,
    PublishedDocument,
    PublishedStream,
    SigningKey,
)
from webapp.models.racks import Rack, RackMode, RackToken
from webapp.models.resources import (
    Blob,
    BlobFault,
    BlobState,
    BootResource,
    ImagePriority,
    PackageList,
    Priority,
    ResourceFile,
    ResourceSet,
    ResourceType,
)
from webapp.models.runs import (
    ACTIVE_STATES,
    HOLD_USER,
    HOLD_WINDOW,
    FileTransfer,
    ImportFailure,
    ImportRun,
    RunState,
    TransferState,
)
from webapp.models.sources import (
    BootSource,
    BootSourceCache,
    BootSourceSelection,
    ImageBinding,
    ImageSoak,
    SelectionRule,
    SourceChange,
    StreamDocument,
)
from webapp.models.uploads import OPEN_UPLOADS, Upload, UploadState

__all__ = [
    "ACTIVE_STATES",
    "HOLD_USER",
    "HOLD_WINDOW",
    "OPEN_UPLOADS",
    "APIKey",
    "APINonce",
    "APIToken",
    "Base",
    "Blob",
    "BlobFault",
    "BlobState",
    "BootEntry",
    "BootResource",
    "BootSource",
    "BootSourceCache",
    "BootSourceSelection",
    "CodeCertificate",
    "CodeSignature",
    "Event",
    "FileTransfer",
    "ImageBinding",
    "ImagePriority",
    "ImageSoak",
    "ImportFailure",
    "ImportRun",
    "LoginSession",
    "LoginThrottle",
    "PackageList",
    "Priority",
    "Publication",
    "PublishedDocument",
    "PublishedStream",
    "Rack",
    "RackMode",
    "RackToken",
    "ResourceFile",
    "ResourceSet",
    "ResourceType",
    "Role",
    "RunState",
    "SelectionRule",
    "Setting",
    "SigningKey",
    "SourceChange",
    "StreamDocument",
    "TransferState",
    "Upload",
    "UploadState",
    "User",
    "utcnow",
]
