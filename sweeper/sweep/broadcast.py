"""What the parts of a launch have to say to its user, and the request to stop that any of them may make.

It is made before all of them, and each is given it, or one of its methods, when it is made.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Broadcast:
    """Notices out, a stop in. Safe to use from several threads.

    Attributes:
        notices: everything that the user should know, in order.
        shown: how many of them the progress display has shown.
        stopping: why nothing more is started; empty while that is not so.
    """

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.shown = 0
        self.stopping = ""

    def notice(self, line: str) -> None:
        """Let the user know, while the progress is shown or else at the end."""
        self.notices.append(line)

    def stop(self, why: str) -> None:
        """Start nothing more and stop the trials in training; the first reason given counts."""
        self.stopping = self.stopping or why

    @contextmanager
    def print_remaining(self, say: Callable[[str], object]) -> Iterator[None]:
        """When the block ends, print the notices that came too late for the progress display."""
        try:
            yield
        finally:
            for line in self.notices[self.shown :]:
                say(line)
