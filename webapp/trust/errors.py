# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a keyring or a signature."""

from __future__ import annotations

from webapp.errors import Problem


class KeyringProblem(Problem):
    """These bytes or this file cannot serve as a keyring."""

    code = "keyring-unusable"


class SignatureProblem(Problem):
    """Nothing here proves that a trusted key signed this document."""

    code = "signature-bad"


class GpgProblem(SignatureProblem):
    """gpg or gpgv could not do its work, so nothing could be proved."""

    code = "gpg-failed"


class SigningProblem(Problem):
    """A document can't be signed, or no key can be made."""

    code = "signing-failed"
