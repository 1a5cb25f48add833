# SPDX-License-Identifier: Apache-2.0
"""Images that people send: received, inspected, published."""
