# SPDX-License-Identifier: Apache-2.0
"""What an import plans, runs and reports."""
