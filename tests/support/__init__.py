# SPDX-License-Identifier: Apache-2.0
"""What the tests run on: real servers, databases, browsers, keys, disks and rows."""
