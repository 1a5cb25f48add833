# SPDX-License-Identifier: Apache-2.0
"""What is stored and what machines get."""
