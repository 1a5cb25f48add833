# SPDX-License-Identifier: Apache-2.0
"""The processes: gunicorn's planes, the worker, and the supervisor that keeps them running."""
