# SPDX-License-Identifier: Apache-2.0
"""A worker that is asked to end does so, wherever the signal arrives."""

from __future__ import annotations

import signal
import sys
import threading

from tests.support.commands import forkserver
from webapp.server.worker import StopRequests

PATIENCE_S = 30.0


def _wait_for_a_signal_to_another_thread() -> None:
    requests = StopRequests()
    requests.heed_signals()

    def signal_myself() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    threading.Timer(0.1, signal_myself).start()
    sys.exit(0 if requests.wait(PATIENCE_S) else 1)


def test_a_signal_that_reaches_another_thread_ends_the_wait() -> None:
    process = forkserver().Process(target=_wait_for_a_signal_to_another_thread)
    process.start()
    process.join(2 * PATIENCE_S)
    assert process.exitcode == 0


def test_a_request_counts_once() -> None:
    requests = StopRequests()
    assert not requests.wait(0)
    requests.put()
    assert requests.wait(0)
    assert not requests.wait(0)
