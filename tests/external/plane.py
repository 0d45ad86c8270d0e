"""A ringsan with a configuration file and a control plane, and sessions that watch what its changes do to them."""

import contextlib
import http.client
import json
import os
import shlex
import socket
import subprocess
import threading
import time

from initiator import ASYNC, Session, read10, write10
from target import IQN, ROOT, Target

INVENTORY_CHANGED = (6, 0x3F, 0x0E)
INITIATOR = "iqn.2026-11.io.ringsan:watched"
BLOCK = 512


class Http(http.client.HTTPConnection):
    """A connection to a unix socket."""

    def __init__(self, path, timeout=15):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                return self.sock.connect(self.path)
            except BlockingIOError:
                # As many wait already as may.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


class Served(Target):
    """A ringsan that serves a configuration file, with its control socket in its folder."""

    def __init__(self, text, options=(), top=""):
        super().__init__([], options)
        self.top = top
        self.control = self.folder / "control.sock"
        self.file = self.folder / "ringsan.toml"
        self.write(text)

    def write(self, text):
        self.file.write_text(f'{self.top}[[portal]]\nlisten = "127.0.0.1:{self.port}"\n\n{text}')
        self.file.chmod(0o600)

    def arguments(self):
        return ["serve", "--config", str(self.file), "--control-socket", str(self.control)]

    def connection(self):
        """A connection to the control plane."""
        return Http(self.control)

    def ask(self, method, path, body=None, headers=None):
        """(status, media type, body) of a request."""
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.getheader("content-type"), answer.read()

    def get(self, path):
        status, kind, body = self.ask("GET", path)
        if (status, kind) != (200, "application/json"):
            raise AssertionError(f"{path}: {status} {kind} {body[:200]!r}")
        return json.loads(body)

    def run(self, *words, socketless=False):
        """What the command line does: (exit code, stdout, stderr)."""
        command = shlex.split(os.environ.get("RINGSAN", "")) or [str(ROOT / "target" / "release" / "ringsan")]
        where = [] if socketless or "--server" in words else ["--socket", str(self.control)]
        done = subprocess.run([*command, *words, *where], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    def counted(self):
        """The sums of the counters of all cores."""
        cores = [core["counters"] for core in self.get("/v1/cores")]
        return {name: sum(core[name] for core in cores) for name in cores[0]}

    def answered(self, number):
        """How many commands a LUN has answered."""
        luns = [lun for target in self.get("/v1/targets") for lun in target["luns"] if lun["lun"] == number]
        return sum(of["commands"] for of in luns[0]["commands"])


def lun(number, size, extra=""):
    return f'[[target.lun]]\nnumber = {number}\nkind = "ram"\nsize = "{size}"\n{extra}'


def configuration(*luns):
    return f'[[target]]\nname = "{IQN}"\nalias = "shown"\n\n' + "\n".join(luns)


class Listener(Session):
    """A session that takes Asynchronous Messages, and a unit attention for granted once for each of them."""

    told = 0

    def receive(self):
        while (pdu := super().receive()).opcode == ASYNC:
            self.told += 1
        return pdu

    def surely(self, *arguments, **named):
        """What becomes of a command, apart from the unit attentions that were announced."""
        task = self.execute(*arguments, **named)
        if task.sense_code() == INVENTORY_CHANGED and self.told > 0:
            self.told -= 1
            task = self.execute(*arguments, **named)
        return task.good()


class Load(threading.Thread):
    """A session that writes and reads back until it is told to end; `fault` is what went wrong."""

    def __init__(self, address, target=IQN):
        super().__init__(daemon=True)
        self.target = target
        self.session = Listener(address, target, initiator=f"{INITIATOR}-load")
        self.session.ready(0)
        self.over = threading.Event()
        self.fault, self.rounds = None, 0

    def run(self):
        try:
            while not self.over.is_set():
                block = (self.rounds.to_bytes(8, "little") * (BLOCK // 8))
                at = 1024 + self.rounds % 512
                self.session.surely(0, write10(at, 1), block)
                if self.session.surely(0, read10(at, 1), expected=BLOCK).data_in != block:
                    raise AssertionError("another block was read than was written")
                self.rounds += 1
        except Exception as error:  # pylint: disable=broad-except
            self.fault = error

    def end(self):
        self.over.set()
        self.join(20)
        return self.fault
