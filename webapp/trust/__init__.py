# SPDX-License-Identifier: Apache-2.0
"""LEAF. Who signed what: keyrings and signatures, checked by gpgv."""
