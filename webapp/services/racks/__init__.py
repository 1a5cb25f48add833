# SPDX-License-Identifier: Apache-2.0
"""Racks on other machines: enrolling, settings, what each is offered, and what it reports."""
