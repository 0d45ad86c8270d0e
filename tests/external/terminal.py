"""`ringsan top` on a terminal that goes. `tests/external/interface` calls `check`."""

import contextlib
import os
import pty
import shlex
import signal
import time

from target import ROOT, die_with_parent

BEGINS_S, ENDS_S = 2, 3


def top(served):
    """`ringsan top` on a terminal of its own: (process, our end of it)."""
    command = shlex.split(os.environ.get("RINGSAN", "")) or [str(ROOT / "target" / "release" / "ringsan")]
    process, ours = pty.fork()
    if process == 0:
        die_with_parent()
        os.execvp(command[0], [*command, "top", "--socket", str(served.control)])
    time.sleep(BEGINS_S)
    return process, ours


def ends(process):
    """Whether it ends by itself soon; it is ended in any case."""
    deadline = time.monotonic() + ENDS_S
    while time.monotonic() < deadline:
        if os.waitpid(process, os.WNOHANG)[0]:
            return True
        time.sleep(0.05)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return False


def check(served, checks):
    """A key and a signal end it, and so does the terminal's end."""
    for name, end in (("a key", lambda process, ours: os.write(ours, b"q")), ("a signal", lambda process, ours: os.kill(process, signal.SIGTERM))):
        process, ours = top(served)
        shown = os.read(ours, 65536)
        end(process, ours)
        checks.check(f"top ends by {name}", len(shown) > 100 and ends(process), str(shown[:100]))
        os.close(ours)
    process, ours = top(served)
    with contextlib.suppress(OSError):
        os.close(ours)
    checks.check("top ends when its terminal has gone", ends(process), f"it is there still {ENDS_S} s later")
