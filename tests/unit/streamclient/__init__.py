# SPDX-License-Identifier: Apache-2.0
"""Reading a stream: what is signed, of one state, and never older than what we had."""
