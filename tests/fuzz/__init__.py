# SPDX-License-Identifier: Apache-2.0
"""Bytes nobody meant to send: no crash, no hang, little memory, the same answer twice.

One file for each subject: test_SUBJECT.py. `make fuzz` runs them all.
"""
