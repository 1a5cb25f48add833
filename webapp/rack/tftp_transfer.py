# SPDX-License-Identifier: Apache-2.0
"""One file on its way by TFTP: what to send next, decided without sockets and clocks."""

from __future__ import annotations

from collections.abc import Callable

from webapp.rack import tftp_packets as packets
from webapp.rack.tftp_packets import ReadRequest

TIMEOUT_S = 1.0  # without the client's wish
MAX_TRIES = 10  # of one window, without any answer

Read = Callable[[int, int], bytes]  # offset, length


class Transfer:
    """Gives the packets to send at the start, after each packet of the client, and in time.

    is_over: nothing is left to send, or the client is gone. is_whole: it has everything.
    """

    def __init__(self, request: ReadRequest, size: int, read: Read) -> None:
        self.options = request.agreed(size)
        self.is_over = self.is_whole = False
        self.tries = 0
        self._size, self._read = size, read
        self._last = size // self.options.block + 1  # a last block may be empty
        self._acked = -1 if self.options.accepted else 0
        self._resent_after = -2  # the block after which a window was sent again unasked

    @property
    def timeout_s(self) -> float:
        """Seconds to wait for the client."""
        return float(self.options.timeout_s or TIMEOUT_S)

    @property
    def sent(self) -> int:
        """How many bytes the client has confirmed."""
        return min(self._size, max(0, self._acked) * self.options.block)

    def start(self) -> list[bytes]:
        """The first packets."""
        return self._window()

    def receive(self, packet: bytes) -> list[bytes]:
        """What a packet of the client leads to. Of an old one, nothing."""
        number = packets.acknowledged(packet)
        if number is None:
            return []
        if number < 0:
            self.is_over = True
            return []
        block = self._block_of(number)
        if block is None:
            return []
        if block == self._acked:
            return self._again(block)
        self._acked, self.tries = block, 0
        if block == self._last:
            self.is_over = self.is_whole = True
            return []
        return self._window()

    def expire(self) -> list[bytes]:
        """What to send again after ``timeout_s`` without progress; ends it after MAX_TRIES."""
        self.tries += 1
        if self.tries >= MAX_TRIES:
            self.is_over = True
            return [packets.error(packets.Refusal(packets.UNDEFINED, "No answer."))]
        return self._window()

    def _block_of(self, number: int) -> int | None:
        """The whole number of an acknowledged block, if it's one of those under way."""
        ahead = (number - self._acked) & 0xFFFF
        block = self._acked + ahead
        most = 0 if self._acked < 0 else min(self._last, self._acked + self.options.window)
        return block if block <= most else None

    def _again(self, block: int) -> list[bytes]:
        """The client got nothing of the window, and says so (RFC 7440).

        Only once: with windows of one block, an answer to each repeated packet would double
        all that follow.
        """
        if self.options.window == 1 or self._resent_after == block:
            return []
        self._resent_after = block
        return self._window()

    def _window(self) -> list[bytes]:
        if self._acked < 0:
            return [packets.options(self.options.accepted)]
        first = self._acked + 1
        block, window = self.options.block, self.options.window
        end = min(self._last, self._acked + window)
        content = self._read((first - 1) * block, (end - first + 1) * block)
        return [
            packets.data(number, content[at : at + block])
            for at, number in zip(
                range(0, window * block, block), range(first, end + 1), strict=False
            )
        ]
