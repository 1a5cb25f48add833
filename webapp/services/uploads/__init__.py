# SPDX-License-Identifier: Apache-2.0
"""Images that users upload: received, inspected, published."""
