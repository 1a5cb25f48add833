# SPDX-License-Identifier: Apache-2.0
"""REST 2.0 as stock clients speak it: black-box tests that send their very bytes."""
