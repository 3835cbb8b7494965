"""Messages from the parts of a launch to its user, and requests to stop it.

A `Broadcast` is made before these parts, and its methods are passed to their constructors.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Broadcast:
    """Collects notices and the reason to stop. Safe to use from several threads.

    Attributes:
        notices: messages for the user, in order.
        shown: how many of them the progress display has shown.
        stopping: why the launch stops; empty while it does not.
    """

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.shown = 0
        self.stopping = ""

    def notice(self, line: str) -> None:
        """Show the user a line: with the progress, or at the end if progress is no longer shown."""
        self.notices.append(line)

    def stop(self, why: str) -> None:
        """Stop the launch: no further trial starts, and those in training end. The first reason is kept."""
        self.stopping = self.stopping or why

    @contextmanager
    def print_remaining(self, say: Callable[[str], object]) -> Iterator[None]:
        """When the block ends, print the notices that the progress display has not shown."""
        try:
            yield
        finally:
            for line in self.notices[self.shown :]:
                say(line)
