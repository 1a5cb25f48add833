# SPDX-License-Identifier: Apache-2.0
"""simplestreams and trust: verify, parse, map and filter what a boot source publishes.

A leaf: nothing in here knows Flask, the database or the network.
"""
