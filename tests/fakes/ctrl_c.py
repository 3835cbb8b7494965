"""Ctrl-C for processes that a test starts."""

import signal


def hears_ctrl_c() -> None:
    """In the child: what runs behind a shell's `&`, as CI may, was told to ignore it, and so would be its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
