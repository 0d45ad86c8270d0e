"""The command line at a running ringsan, as tests/external/control calls it: other outputs, what is waited for, hints, and `top`."""

import contextlib
import fcntl
import json
import os
import pty
import select
import shlex
import signal
import struct
import termios
import time

from target import IQN, ROOT

BLOCK = 512
OTHER_SCREEN, OWN_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"


class Terminal:
    """`ringsan top` on a terminal of 80x24; `seen` is all that it has written there."""

    def __init__(self, served, *words):
        command = shlex.split(os.environ.get("RINGSAN", "")) or [str(ROOT / "target" / "release" / "ringsan")]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm-256color"
            os.execvp(command[0], [*command, "top", "--socket", str(served.control), *words])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before, self.seen, self.at = termios.tcgetattr(self.fd), b"", 0

    def read(self, until, seconds=10):
        """Reads until something is there, behind what was read until before, and says whether it came."""
        deadline = time.monotonic() + seconds
        while until not in self.seen[self.at:] and time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536)
                except OSError:
                    break
        if until not in self.seen[self.at:]:
            return False
        self.at = self.seen.index(until, self.at) + len(until)
        return True

    def keys(self, words):
        os.write(self.fd, words)

    def end(self):
        """Its exit code, and whether the terminal is as it was."""
        self.read(OWN_SCREEN)
        deadline, pid, status = time.monotonic() + 10, 0, 0
        while pid == 0 and time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            time.sleep(0.02)
        if pid == 0:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            return None
        same = termios.tcgetattr(self.fd)[:4] == self.before[:4]
        return os.waitstatus_to_exitcode(status), OWN_SCREEN in self.seen[-64:], same

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)


def outputs(served, checks):
    """What is printed, and for whom."""
    code, out, err = served.run("status", "-o", "yaml")
    said = code == 0 and "healthy: true\n" in out and f"- name: {IQN}\n" in out and not out.startswith("{")
    checks.check("status as YAML", said, out + err)
    code, out, err = served.run("top", "--once")
    lines = out.splitlines()
    heads = [line.split()[0] for line in lines if line.split()[:2] in (["CORE", "BUSY"], ["TARGET", "LUN"], ["TSIH", "INITIATOR"])]
    checks.check("top where there is no terminal", code == 0 and heads == ["CORE", "TARGET", "TSIH"] and "\x1b" not in out, out + err)
    code, out, err = served.run("top", "-o", "json")
    rates = json.loads(out)
    luns = {lun["lun"]: lun for lun in rates["luns"]}
    reads = next(of for of in luns[0]["by_kind"] if of["kind"] == "read")
    said = 0.9 < rates["seconds"] < 5 and reads["commands_per_s"] > 1 and reads["mean_us"] > 0
    checks.check("rates are of one second", code == 0 and said and luns[1]["commands_per_s"] == 0, out + err)
    same = abs(reads["bytes_per_s"] / reads["commands_per_s"] - BLOCK) < 1
    checks.check("and bytes are those of the reads", same, str(reads))


def hints(served, checks):
    """What is nearly right is named."""
    end = IQN.rpartition(":")[2]
    code, out, _ = served.run("target", "show", end)
    checks.check("a target by its end", code == 0 and IQN in out, out)
    code, _, err = served.run("target", "show", IQN + "x")
    checks.check("a target that is nearly there", code == 2 and f"did you mean '{IQN}'?" in err, err)
    code, _, err = served.run("lun", "set", "0", "iops=1", "-t", IQN.replace("ringsan", "rinsan"))
    checks.check("also where the file is changed", code == 2 and f"did you mean '{IQN}'?" in err, err)
    code, _, err = served.run("lun", "rm", "76")
    checks.check("LUNs that there are", code == 2 and "is not in the file: there is 0, 1" in err, err)


def waits(served, checks, configuration, lun):
    """A file that moves to another LUN waits until it is closed; `--wait` waits for that."""
    disk = served.folder / "moves.img"
    disk.write_bytes(bytes(1 << 20))

    def at(number):
        served.write(configuration(lun(0, "8MiB"), lun(1, "4MiB"), f'[[target.lun]]\nnumber = {number}\npath = "{disk}"\n'))

    def numbers():
        return [one["lun"] for one in served.get("/v1/targets")[0]["luns"]]

    at(5)
    served.run("reload")
    at(6)
    code, out, err = served.run("reload", "--wait")
    said = code == 0 and f"LUN 6 of {IQN} added" in out and "waits" not in out
    checks.check("a reload waits for a file", said and numbers() == [0, 1, 6], out + err)
    at(7)
    code, out, err = served.run("reload", "--wait", "--timeout", "0")
    checks.check("but not for longer than is said", code == 1 and not out and f"LUN 7 of {IQN}" in err, out + err)
    deadline = time.monotonic() + 10
    while numbers() != [0, 1, 7] and time.monotonic() < deadline:
        time.sleep(0.1)
    code, out, err = served.run("lun", "rm", "7", "--wait", "--force")
    checks.check("and not where there is nothing to wait for", code == 0 and numbers() == [0, 1], out + err)
    code, _, err = served.run("lun", "rm", "1", "--timeout", "5")
    checks.check("a time without --wait is an error", code == 2 and "--wait" in err, err)


def top(served, checks, watched):
    """`top` on a terminal: keys, a session that is dropped, and the terminal as it was, however it ends."""
    with Terminal(served) as screen:
        checks.check("top shows what is served", screen.read(OTHER_SCREEN) and screen.read(b"by CMD/S"), repr(screen.seen))
        # The sessions, and of those the one of one initiator. (Of what is drawn only what is not blank is sent.)
        screen.keys(b"3/watched-top\r")
        screen.read(b"'watched-top':", 5)
        screen.keys(b"d")
        checks.check("it asks before it drops", screen.read(f"drop session {watched} of".encode()), repr(screen.seen[-2000:]))
        screen.keys(b"y")
        checks.check("and drops", screen.read(b"was dropped"), repr(screen.seen[-2000:]))
        screen.keys(b"q")
        checks.check("q ends it, and the terminal is as before", screen.end() == (0, True, True), repr(screen.seen[-200:]))
    for number in (signal.SIGTERM, signal.SIGINT):
        with Terminal(served) as screen:
            screen.read(b"by CMD/S")
            os.kill(screen.pid, number)
            checks.check(f"{number.name} ends it, and the terminal is as before", screen.end() == (0, True, True), repr(screen.seen[-200:]))


def top_alone(served, checks):
    """The server goes away under `top`, and comes back."""
    with Terminal(served) as screen:
        screen.read(b"by CMD/S")
        served.stop()
        checks.check("top says that nobody answers", screen.read(b"NO ANSWER"), repr(screen.seen[-2000:]))
        served.start()
        checks.check("and goes on when somebody does", screen.read(b"all is well"), repr(screen.seen[-2000:]))
        screen.keys(b"\x03")
        checks.check("Ctrl-C ends it", screen.end() == (0, True, True), repr(screen.seen[-200:]))


def run(served, checks, configuration, lun, session):
    """All but what ends the server. `session`: makes one with an initiator of this name."""
    outputs(served, checks)
    hints(served, checks)
    waits(served, checks, configuration, lun)
    mine = session("watched-top")
    found = [one["tsih"] for one in served.get("/v1/sessions")["sessions"] if one["initiator"].endswith("watched-top")]
    top(served, checks, found[0])
    with contextlib.suppress(OSError):
        mine.close()
