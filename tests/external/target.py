"""Starts and ends the ringsan that an external suite runs against, and the few things that every suite needs.

`Target` is one ringsan process on a free port of 127.0.0.1, with a folder of its own for its LUN files and its log. It
is ended by its process id when the `with` block is left, however that happens.

Environment:
  RINGSAN            the command to run instead of target/release/ringsan (it is split as a shell would)
  RINGSAN_FIRST_LUN  the number of the first --lun, for a stand-in whose LUNs do not count from 0
  RINGSAN_KEEP       a folder that receives the log of each target whose suite failed
"""

import contextlib
import ctypes
import os
import pathlib
import random
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
IQN = "iqn.2026-11.io.ringsan:test"
FIRST_LUN = int(os.environ.get("RINGSAN_FIRST_LUN", "0"))
READY_SECONDS = 15
# What ringsan promises between SIGTERM and its end.
STOP_SECONDS = 5
# As seen from a guest behind QEMU's user network.
GUEST_VIEW_OF_HOST = "10.0.2.2"


class TargetError(Exception):
    """ringsan did not do what its command line promises: become ready, stay alive, end in time."""


_reserved = []


def free_port():
    """A port of 127.0.0.1 below the range that outgoing connections get theirs from, free a moment ago. Nobody else gets it
    here while this process lives, which holds an abstract Unix socket named after it: the port itself is free for all until
    ringsan listens, and two that started at once have once taken the same."""
    for port in random.sample(range(13000, 30000), 200):
        name = socket.socket(socket.AF_UNIX)
        with contextlib.closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                name.bind(f"\0ringsan-test-port-{port}")
                probe.bind(("127.0.0.1", port))
            except OSError:
                name.close()
                continue
        _reserved.append(name)
        return port
    raise TargetError("no free port")


def die_with_parent():
    """For a child before it runs its program: it is killed when the thread that started it ends, however that happens."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def end_on_signals():
    """Makes SIGTERM and SIGHUP unwind the stack as SIGINT does, so that `with` blocks clean up."""

    def end(number, _frame):
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)


class Target:
    """One ringsan: `luns` are the values of --lun, with paths relative to its folder; `options` go behind them."""

    # Where its folder is, and what starts the command.
    scratch = ROOT / "target" / "external-tests"
    launcher = []

    def __init__(self, luns, options=(), for_guest=False):
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="run.", dir=self.scratch))
        self.log = self.folder / "ringsan.log"
        self.port = free_port()
        self.process = None
        # What it has said by when it was ready.
        self.said = ""
        self.luns = list(luns)
        self.options = list(options)
        if for_guest:
            self.options += ["--advertise", f"{GUEST_VIEW_OF_HOST}:{self.port}"]

    def url(self, index=0):
        """libiscsi's URL of the LUN given by the `index`th --lun."""
        return f"iscsi://127.0.0.1:{self.port}/{IQN}/{FIRST_LUN + index}"

    def arguments(self):
        """What it is started with, besides `options`."""
        luns = [word for lun in self.luns for word in ("--lun", lun)]
        return ["serve", "--listen", f"127.0.0.1:{self.port}", "--target", IQN, *luns]

    def start(self):
        """Starts it, on the same port each time; returns when it says that it accepts connections."""
        command = shlex.split(os.environ.get("RINGSAN", "")) or [str(ROOT / "target" / "release" / "ringsan")]
        command = self.launcher + command + self.arguments()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command + self.options, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=log, preexec_fn=die_with_parent,
            )
        deadline = time.monotonic() + READY_SECONDS
        said, stdout = b"", self.process.stdout.fileno()
        while not (said.startswith(b"ringsan: ready") or b"\nringsan: ready" in said):
            if select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                piece = os.read(stdout, 4096)
                said += piece
                if piece:
                    continue
                self.process.wait(READY_SECONDS)
            raise TargetError(f"it did not become ready (exit {self.process.poll()}): {said!r} {self.log_tail()}")
        self.said = said.decode()
        return self

    def alive(self):
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def check_alive(self):
        """Raises if it ended by itself."""
        if not self.alive():
            raise TargetError(f"ringsan ended by itself, exit {self.process.poll()}\n{self.log_tail()}")

    def stop(self):
        """SIGTERM: it must exit 0 within 5 seconds."""
        self.check_alive()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TargetError(f"it did not end within {STOP_SECONDS} s of SIGTERM\n{self.log_tail()}") from None
        if code != 0:
            raise TargetError(f"it exited with {code} after SIGTERM\n{self.log_tail()}")

    def kill(self):
        """SIGKILL, and waits for its end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def log_tail(self, lines=20):
        """The end of its log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.kill()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def __exit__(self, kind, _value, _trace):
        self.kill()
        keep = os.environ.get("RINGSAN_KEEP")
        if kind is not None and keep:
            shutil.copy(self.log, pathlib.Path(keep) / f"{self.folder.name}.log")
        shutil.rmtree(self.folder, ignore_errors=True)


class Checks:
    """Counts and prints named checks: PASS or FAIL, one line each. `known` names a file in known/ with those that are known to
    fail, one a line, with two blanks and the reason behind the name: they must fail."""

    def __init__(self, known=None):
        self.passed = 0
        self.failed = 0
        self.known = {}
        if known:
            lines = (ROOT / "tests" / "external" / "known" / known).read_text().splitlines()
            self.known = {name: reason.strip() for name, _, reason in (line.partition("  ") for line in lines if line[:1] not in ("", "#"))}

    def check(self, name, good, why=""):
        """Records one; returns whether it was good."""
        if name in self.known:
            if not good:
                print(f"KNOWN {name}: {why} ({self.known[name]})", flush=True)
                return good
            good, why = False, "it passes: take it out of the list of known failures"
        if good:
            self.passed += 1
            print(f"PASS {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL {name}" + (f": {why}" if why else ""), flush=True)
        return good

    @contextlib.contextmanager
    def step(self, name):
        """A check that fails if its block raises."""
        try:
            yield
        except Exception as error:  # pylint: disable=broad-except
            self.check(name, False, f"{type(error).__name__}: {error}")
        else:
            self.check(name, True)

    def summary(self):
        """Prints the counts; returns the exit code."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 0 if self.failed == 0 and self.passed > 0 else 1
