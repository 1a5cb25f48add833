# SPDX-License-Identifier: Apache-2.0
"""A rack without a database: follows a region's signed tree, keeps bytes, serves machines."""
