# SPDX-License-Identifier: Apache-2.0
"""The local mirror: what the region holds, published as a signed stream."""
