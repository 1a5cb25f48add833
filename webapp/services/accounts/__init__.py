# SPDX-License-Identifier: Apache-2.0
"""Users and how they prove who they are: sessions, passwords, keys, tokens, second factors."""
