"""`ringsan trace`, read by tshark: what passes in sessions that are meant, all of it, and nothing else.

Called by `capture`, whose dissection it is given.
"""

import contextlib
import json
import os
import pathlib
import re
import shlex
import signal
import socket
import struct
import subprocess
import threading
import time

import initiator as iscsi
from initiator import Session, read10, write10
from target import IQN, ROOT, Target

NAMES = "iqn.2026-11.io.ringsan:"
LOCKED = NAMES + "locked"
SECRET = "secret-of-the-host"
BLOCK = 512
PACKET, STATISTICS = 6, 5
IP_AND_TCP = 40
TRACES = 4  # limits::TRACES
FILE = f"""
chap-algorithms = ["md5"]
[[portal]]
listen = "127.0.0.1:{{port}}"
[[account]]
user = "host"
secret-file = "host.secret"
[[target]]
name = "{IQN}"
lun = [{{{{ number = 0, kind = "ram", size = "16MiB" }}}}, {{{{ number = 1, path = "disk.img", size = "16MiB" }}}}]
[[target]]
name = "{LOCKED}"
lun = [{{{{ number = 0, kind = "ram", size = "8MiB" }}}}]
[[target.group]]
initiators = ["{NAMES}*"]
accounts = ["host"]
"""


class Traced(Target):
    """A ringsan with a control socket, and a target that wants CHAP."""

    def __init__(self):
        super().__init__([])
        self.control = self.folder / "control.sock"
        (self.folder / "host.secret").write_text(SECRET + "\n")
        (self.folder / "host.secret").chmod(0o600)
        (self.folder / "traced.toml").write_text(FILE.format(port=self.port))

    def arguments(self):
        return ["serve", "--config", "traced.toml", "--control-socket", str(self.control)]

    def command(self, *words):
        program = shlex.split(os.environ.get("RINGSAN", "")) or [str(ROOT / "target" / "release" / "ringsan")]
        return [*program, *words, "--socket", str(self.control)]

    def session(self, name, keys=None):
        session = Session(("127.0.0.1", self.port), IQN, initiator=NAMES + name, keys=keys)
        session.ready(0)
        session.ready(1)
        return session

    def stream(self, query):
        """A connection on which a trace is asked for, and its status."""
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(10)
        one.connect(str(self.control))
        one.sendall(f"GET /v1/trace?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = b""
        while b"\r\n" not in head:
            head += one.recv(1)
        return one, int(head.split()[1])

    @contextlib.contextmanager
    def capture(self, *words):
        """The file of a trace that goes on meanwhile, and is ended by Ctrl-C."""
        file = self.folder / f"{time.monotonic_ns()}.pcapng"
        with subprocess.Popen(self.command("trace", "-w", str(file), *words), stderr=subprocess.PIPE, text=True) as process:
            try:
                deadline = time.monotonic() + 10
                while not file.exists() or file.stat().st_size == 0:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise AssertionError(f"no trace: {process.stderr.read() if process.poll() is not None else 'late'}")
                    time.sleep(0.01)
                yield file
                # The cores are asked twenty times a second, and what is noted is shown the time after.
                time.sleep(0.4)
            finally:
                process.send_signal(signal.SIGINT)


def blocks(data):
    """The blocks of a capture: kind, body. The last one may be cut."""
    at = 0
    while at + 12 <= len(data):
        kind, length = struct.unpack_from("<II", data, at)
        if at + length > len(data):
            return
        yield kind, data[at + 8:at + length - 4]
        at += length


def pdus(frames):
    return [int(code, 0) for frame in frames for code in frame["iscsi.opcode"]]


def is_whole(checks, what, file, target, dissect, faults):
    """Has a capture dissected, and finds nothing wrong; its frames and bytes."""
    data = file.read_bytes()
    packets = [body for kind, body in blocks(data) if kind == PACKET]
    # A PDU that IP has no room for goes on in packets of which nothing but the headers is there.
    rests = {str(number) for number, body in enumerate(packets, 1) if struct.unpack_from("<I", body, 12)[0] == IP_AND_TCP}
    frames, _, bad = dissect(file, target.port)
    # A packet whose data is left out has no checksum.
    wrong = [f"frame {frame['frame.number'][0]}: {fault}" for frame in frames for fault in faults(frame)
             if not (fault == "not iSCSI" and frame["frame.number"][0] in rests)]
    checks.check(f"{what}: nothing is malformed in {len(frames)} packets", frames and not wrong and not bad, "; ".join(wrong[:5]))
    checks.check(f"{what}: all packets are read", len(packets) == len(frames), f"{len(packets)} in the file")
    return frames, data


def of_a_target(target, checks, dissect, faults):
    """A trace by target has logins that come later, without what they prove, and nobody else."""
    other = target.session("other")
    with target.capture("--target", "locked", "--data") as file:
        url = f"iscsi://host%{SECRET}@127.0.0.1:{target.port}/{LOCKED}/0"
        subprocess.run(["iscsi-inq", "-i", NAMES + "chap", url], check=True, capture_output=True, timeout=30)
        for _ in range(20):
            other.execute(0, read10(0, 8), expected=8 * BLOCK).good()
    frames, data = is_whole(checks, "by target", file, target, dissect, faults)
    found = pdus(frames)
    wanted = {iscsi.LOGIN, iscsi.LOGIN_RESPONSE, iscsi.SCSI_COMMAND, iscsi.DATA_IN}
    checks.check("by target: a login, and commands", wanted <= set(found) and found.count(iscsi.LOGIN) == found.count(iscsi.LOGIN_RESPONSE), str(found))
    secrets = re.findall(rb"(CHAP_[RCI])=([^\0]*)\0", data)
    keys = {key for key, _ in secrets}
    checks.check("by target: CHAP is there, and what proves something is not", keys == {b"CHAP_R", b"CHAP_C", b"CHAP_I"}
                 and all(value.strip(b"x") == b"" for _, value in secrets), str(secrets))
    checks.check("by target: who it is can be seen", b"CHAP_N=host\0" in data and LOCKED.encode() in data)
    port = struct.pack(">H", other.socket.getsockname()[1])
    ends = {body[20 + 20:20 + 24] for kind, body in blocks(data) if kind == PACKET}
    checks.check("by target: no other session is in it", ends and not any(port in (end[:2], end[2:]) for end in ends), str(ends))
    other.logout()


def of_a_session(target, checks, dissect, faults):
    """A trace by session: reads, and writes with immediate, unsolicited and solicited data, with and without it shown."""
    session = target.session("one", {"InitialR2T": "No", "HeaderDigest": "CRC32C", "DataDigest": "CRC32C"})
    other = target.session("two")
    mark = b"a mark that nothing else has"
    for shown in ((), ("--data",)):
        with target.capture("--session", str(session.tsih), *shown) as file:
            for lun in (0, 1):
                for blocks_ in (1, 8, 600):
                    block = (mark * blocks_ * BLOCK)[:blocks_ * BLOCK]
                    session.execute(lun, write10(0, blocks_), block).good()
                    assert session.execute(lun, read10(0, blocks_), expected=len(block)).good().data_in == block
                    other.execute(lun, read10(0, 8), expected=8 * BLOCK).good()
            session.nop(b"ping")
        what = " ".join(("by session", *shown))
        frames, data = is_whole(checks, what, file, target, dissect, faults)
        found = pdus(frames)
        checks.check(f"{what}: all commands, and what belongs to them", found.count(iscsi.SCSI_COMMAND) == 12
                     and {iscsi.DATA_OUT, iscsi.R2T, iscsi.DATA_IN, iscsi.SCSI_RESPONSE, iscsi.NOP_OUT, iscsi.NOP_IN} <= set(found), str(found))
        checks.check(f"{what}: data is there if it is wanted", (mark in data) == bool(shown))
    with target.capture("--session", str(session.tsih), "--lun", "1") as file:
        for lun in (0, 1, 0, 1, 1):
            session.execute(lun, read10(0, 8), expected=8 * BLOCK).good()
    frames, _ = is_whole(checks, "by LUN", file, target, dissect, faults)
    found = pdus(frames)
    checks.check("by LUN: its commands, with their responses", found.count(iscsi.SCSI_COMMAND) == 3
                 and len(found) == 6, str(found))
    session.logout()
    other.logout()


def lines(target, checks):
    """On the terminal; an end by count and by time; what is not there."""
    session = target.session("lines")
    over = threading.Event()

    def read():
        while not over.wait(0.01):
            session.execute(1, read10(0, 8), expected=8 * BLOCK).good()

    reader = threading.Thread(target=read)
    reader.start()
    done = subprocess.run(target.command("trace", "--session", str(session.tsih), "--count", "6"), capture_output=True, text=True, timeout=30, check=False)
    said = done.stdout.splitlines()
    is_read = re.compile(rf"\d\d:\d\d:\d\d\.\d{{6}} {session.tsih}:0 > SCSI Command itt=0x\w+ lun=1 cmd_sn=\d+ .* READ\(10\)$")
    checks.check("lines: a line for each PDU", done.returncode == 0 and len(said) == 6
                 and 2 <= sum(bool(is_read.match(line)) for line in said) <= 4, done.stdout + done.stderr)
    began = time.monotonic()
    done = subprocess.run(target.command("trace", "--seconds", "1", "--lun", "0"), capture_output=True, text=True, timeout=30, check=False)
    took = time.monotonic() - began
    checks.check("lines: an end by time, and nothing of another LUN", (done.returncode, done.stdout) == (0, "") and 0.9 < took < 5, f"{took:.1f} s {done}")
    over.set()
    reader.join()
    session.logout()
    for words in (("--session", "65535"), ("--target", "nobody")):
        done = subprocess.run(target.command("trace", *words), capture_output=True, text=True, timeout=30, check=False)
        checks.check(f"lines: {' '.join(words)} is not there", done.returncode == 2 and "there is no" in done.stderr, str(done))


def unread(target, checks):
    """A trace that nobody reads stops nothing, takes bounded memory, and says what it has lost; only so many at a time."""
    session = target.session("unread")
    status = pathlib.Path(f"/proc/{target.process.pid}/status")

    def rss():
        return int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1]) << 10

    before = rss()
    one, code = target.stream("data=true")
    for _ in range(3000):
        session.execute(0, read10(0, 16), expected=16 * BLOCK).good()
    grown = rss() - before
    checks.check("unread: memory is bounded", code == 200 and grown < 64 << 20, f"{code}, {grown >> 20} MiB more")
    one.settimeout(0.5)
    # It goes on when it is read, and tells of what was lost.
    data = b""
    with contextlib.suppress(TimeoutError):
        while piece := one.recv(1 << 20):
            data += piece
    for _ in range(10):
        session.execute(0, read10(0, 1), expected=BLOCK).good()
    with contextlib.suppress(TimeoutError):
        while piece := one.recv(1 << 20):
            data += piece
    one.close()
    body = b""
    rest = data.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[:int(size or b"0", 16)], rest[int(size or b"0", 16) + 2:]
    lost = [struct.unpack_from("<Q", part, len(part) - 12)[0] for kind, part in blocks(body) if kind == STATISTICS]
    packets = sum(kind == PACKET for kind, _ in blocks(body))
    checks.check("unread: what was lost is said, and the rest is there", lost and lost[-1] > 1000 and packets > 100
                 and lost[-1] + packets >= 6000, f"{lost[-1:]} lost, {packets} packets")
    many = [target.stream("data=false") for _ in range(TRACES)]
    over, code = target.stream("")
    checks.check("unread: only so many at a time", [code for _, code in many] == [200] * TRACES and code == 429, f"{[code for _, code in many]}, {code}")
    for connection in (over, *(connection for connection, _ in many)):
        connection.close()
    deadline = time.monotonic() + 5
    while True:
        again, code = target.stream("")
        again.close()
        if code == 200 or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    checks.check("unread: those that have gone make room", code == 200, str(code))
    session.logout()


def traces(checks, dissect, faults):
    """All of this file."""
    with Traced() as target:
        for name, part in (("traces by target", of_a_target), ("traces by session", of_a_session)):
            with checks.step(name):
                part(target, checks, dissect, faults)
        for name, part in (("traces as lines", lines), ("traces that nobody reads", unread)):
            with checks.step(name):
                part(target, checks)
        with checks.step("the server is well"):
            done = subprocess.run(target.command("status", "-o", "json"), capture_output=True, text=True, timeout=30, check=True)
            assert json.loads(done.stdout)["healthy"]
        target.stop()
