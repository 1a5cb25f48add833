# SPDX-License-Identifier: Apache-2.0
"""Signed mirrors for tests, demo and benchmarks, and a server that can misbehave."""
