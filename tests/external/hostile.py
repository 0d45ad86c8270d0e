"""The frame of the suite of attacks: a ringsan to attack, a session that must not notice, and what is measured before, during
and after.

`Grounds` is a ringsan with one core and LUNs for both. `Victim` is a process with a session of its own that reads and writes
and checks all of it. `Site` is what an attack is given. `measure` puts them together and says what was found, as `Found`.
"""

import contextlib
import hashlib
import multiprocessing
import os
import pathlib
import random
import re
import select
import signal
import socket
import struct
import tempfile
import time
import traceback

from initiator import (
    DATA_IN, FINAL, IMMEDIATE, LOGIN, NOP_IN, NOP_OUT, R2T, REJECT, RESERVED_TAG, SCSI_RESPONSE, LoginFailed, ProtocolError,
    Session, bhs, read10, write10)
from target import IQN, Target, TargetError

NAMES = "iqn.2026-11.io.ringsan:"
SECRETS = {"victim": "the-victims-secret", "thief": "the-thiefs-secret"}
VICTIM_ISID = 7
TARGETS = 64
SHARED_MEMORY = pathlib.Path("/dev/shm")
# LUNs of attackers: memory, a file, and a file with a limit.
MEMORY, FILE, LIMITED = 0, 1, 2
BLOCK, SLICE = 512, 262_144
# The victim's own LUN: the first half it only reads.
VICTIM_BLOCKS = 16384
CALM_SECONDS, ATTACK_SECONDS, SETTLE_SECONDS = 0.6, 1.2, 0.3
# How long what was taken may need to come back, once nobody asks for more.
BACK_SECONDS = 8
LOGINS = 48
UNIT_ATTENTION = 6
LOG_LINES_PER_SECOND = 20
# Of the line for SIGUSR1, with the colours of a terminal or without.
SESSIONS = re.compile(rb"SIGUSR1.*?sessions=(\d+)")


class Grounds(Target):
    """A ringsan to attack. `files`: how many it may open."""

    def __init__(self, cores=(0,), files=None):
        # The victim's disk is as fast as memory, for disks have moments, too; those of attackers are what there is.
        Target.scratch.mkdir(parents=True, exist_ok=True)
        self.disk = tempfile.TemporaryDirectory(prefix="run.", dir=Target.scratch)  # pylint: disable=consider-using-with
        if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK):
            self.scratch = SHARED_MEMORY
        super().__init__([])
        self.cores = cores
        if files:
            self.launcher = ["prlimit", f"--nofile={files}"]
        for user, secret in SECRETS.items():
            (self.folder / user).write_text(secret + "\n")
            (self.folder / user).chmod(0o600)
        (self.folder / "victim.img").write_bytes(random.Random(1).randbytes(VICTIM_BLOCKS * BLOCK))
        for name in ("a.img", "b.img"):
            with open(pathlib.Path(self.disk.name) / name, "wb") as file:
                file.truncate(64 << 20)
        accounts = "".join(f'[[account]]\nuser = "{user}"\nsecret-file = "{user}"\n' for user in SECRETS)
        luns = ("path = \"victim.img\"", "kind = \"ram\"\nsize = \"64MiB\"", f"path = \"{self.disk.name}/a.img\"\nthin = true",
                f"path = \"{self.disk.name}/b.img\"\nthin = true\niops = 20")
        (self.folder / "attacks.toml").write_text(
            f'cores = {list(cores)}\nstate = "state"\n[[portal]]\nlisten = "127.0.0.1:{self.port}"\n{accounts}'
            f'[discovery]\naccounts = ["victim", "thief"]\n[[target]]\nname = "{IQN}"\n'
            + "".join(f"[[target.lun]]\nnumber = {number}\n{lun}\n" for number, lun in enumerate(luns))
            + f'[[target.group]]\ninitiators = ["{NAMES}attacker*", "{NAMES}other*"]\nluns = ["1 as 0", "2 as 1", "3 as 2"]\n'
            + '[[target.group]]\naccounts = ["victim"]\nluns = [0]\n[[target.group]]\naccounts = ["thief"]\nluns = ["1 as 0"]\n'
            + "".join(f'[[target]]\nname = "{IQN}-{n}"\n[[target.lun]]\nnumber = 0\nkind = "ram"\nsize = "1MiB"\n' for n in range(TARGETS)))

    def __exit__(self, *arguments):
        super().__exit__(*arguments)
        self.disk.cleanup()

    def arguments(self):
        return ["serve", "--config", "attacks.toml"]

    @property
    def address(self):
        """Where it listens."""
        return ("127.0.0.1", self.port)

    def resident(self):
        """Bytes of memory."""
        return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self):
        """How many are open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def processor_seconds(self):
        """What it has used."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def sessions(self):
        """How many there are, logins that are to be some included: what it says to SIGUSR1."""
        began = self.log.stat().st_size
        self.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 5
        while not (said := SESSIONS.search(self.log.read_bytes()[began:])):
            if time.monotonic() > deadline:
                raise TargetError("the log says nothing about SIGUSR1")
            time.sleep(0.01)
        return int(said[1])

    def lines(self):
        """How many are in its log."""
        return self.log.read_bytes().count(b"\n")

    def fill(self):
        """Has all of the attackers' memory, so that it is there before anybody measures."""
        host = self.host(0)
        host.ready(MEMORY)
        for lba in (0, 1 << 15, 1 << 16, 3 << 15):
            host.execute(MEMORY, struct.pack(">BBIBHB", 0x41, 0, lba, 0, 1 << 15, 0), b"\x55" * BLOCK).good()
        host.logout()

    def host(self, number, **named):
        """A session of somebody who does nothing wrong, from an address of their own."""
        return Session(self.address, IQN, f"{NAMES}other-{number}", source=f"127.0.2.{1 + number}", **named)


class Proven(Session):
    """A session whose initiator proves to be `user` (CHAP with MD5)."""

    def __init__(self, address, user, secret, **named):
        self.user, self.secret = user, secret
        super().__init__(address, named.pop("target", IQN), **named)

    def step(self, flags, keys):
        """One request: what is answered."""
        text = b"".join(f"{key}={value}\0".encode() for key, value in keys.items())
        header = bytearray(bhs(LOGIN | IMMEDIATE, flags, itt=0, fields=((24, self.cmd_sn), (28, self.exp_stat_sn)), data_length=len(text)))
        header[8:14] = self.isid
        self.send(bytes(header), text)
        return self.login_response()

    def login(self):
        names = {key: self.keys[key] for key in ("InitiatorName", "SessionType", "TargetName") if key in self.keys}
        self.step(0x00, names | {"AuthMethod": "CHAP"})
        asked = self.step(0x00, {"CHAP_A": "5"}).keys()
        proof = hashlib.md5(bytes([int(asked["CHAP_I"])]) + self.secret.encode() + bytes.fromhex(asked["CHAP_C"][2:])).hexdigest()
        self.step(0x81, {"CHAP_N": self.user, "CHAP_R": "0x" + proof})
        self.answers = self.step(0x87, {key: value for key, value in self.keys.items() if key not in names and key != "AuthMethod"}).keys()
        self.max_send = int(self.answers.get("MaxRecvDataSegmentLength", "8192"))
        self.unsolicited, self.immediate = 0, 0


class Victim:
    """A process with a session that reads 4 KiB at a time from its own LUN, writes between, and checks all of it."""

    def __init__(self, grounds):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self.live, args=(grounds.address, theirs), daemon=True)
        self.process.start()
        theirs.close()

    @staticmethod
    def live(address, pipe):
        """In its own process."""
        content = random.Random(1).randbytes(VICTIM_BLOCKS * BLOCK)
        try:
            session = Proven(address, "victim", SECRETS["victim"], initiator=NAMES + "victim", isid=VICTIM_ISID, timeout=20,
                             keys={"ImmediateData": "No"})
            session.ready(0)
            rng, rounds = random.Random(2), 0
            while seconds := pipe.recv():
                took, began = [], time.monotonic()
                now = began
                while now < began + seconds:
                    lba = 8 * rng.randrange(VICTIM_BLOCKS // 16)
                    found = session.execute(0, read10(lba, 8), expected=8 * BLOCK).good().data_in
                    took.append(time.monotonic() - now)
                    if found != content[lba * BLOCK:][:8 * BLOCK]:
                        raise ProtocolError(f"block {lba} reads as what was never there")
                    rounds += 1
                    if rounds % 8 == 0:
                        lba, data = VICTIM_BLOCKS // 2 + 8 * rng.randrange(VICTIM_BLOCKS // 16), rng.randbytes(8 * BLOCK)
                        session.execute(0, write10(lba, 8), data).good()
                        if session.execute(0, read10(lba, 8), expected=8 * BLOCK).good().data_in != data:
                            raise ProtocolError(f"block {lba} reads as something else than was written")
                    now = time.monotonic()
                pipe.send((len(took) / sum(took), sorted(took)[len(took) * 999 // 1000], max(took)))
            session.logout()
        except Exception as error:  # pylint: disable=broad-except
            pipe.send(f"{type(error).__name__}: {error}")

    def run(self, seconds, meanwhile=lambda: None):
        """(reads a second, what 999 of 1,000 took at most, the slowest) in that time; a text if it went wrong."""
        self.pipe.send(seconds)
        while not self.pipe.poll(0.02):
            meanwhile()
        return self.pipe.recv()

    def end(self):
        """With a logout."""
        with contextlib.suppress(OSError):
            self.pipe.send(0)
        self.process.join(5)
        self.process.kill()


class Site:
    """What an attack has: where to go, when to end, and how to count what it has done."""

    def __init__(self, grounds, number, ending, count):
        self.address, self.number, self.ending, self.count = grounds.address, number, ending, count
        self.rng = random.Random(number)

    def going(self):
        """Whether to go on."""
        return not self.ending.is_set()

    def done(self, count=1):
        """So much more of what the attack consists of."""
        with self.count.get_lock():
            self.count.value += count

    def session(self, name="", host=None, **named):
        """A session of an attacker, from the attackers' address or that of one of many hosts."""
        source = "127.0.1.1" if host is None else f"127.0.{16 + host // 200}.{1 + host % 200}"
        named.setdefault("isid", self.rng.randrange(1, 1 << 24))
        return Session(self.address, named.pop("target", IQN), f"{NAMES}attacker{name}", source=source, **named)

    def wait(self):
        """Until the end."""
        self.ending.wait()

    def push(self, session, more, read=False):
        """Keeps a socket full of what `more` makes; throws away what comes back, or does not even read it."""
        link, rest, room = session.socket, memoryview(b""), memoryview(bytearray(1 << 20))
        link.setblocking(False)
        while self.going():
            if not rest:
                rest = memoryview(more())
                self.done()
            readable, writable, _ = select.select([link] if read else [], [link], [], 0.05)
            if writable:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[link.send(rest):]
            if readable and not link.recv_into(room):
                raise EOFError("closed")

    def ask(self, sessions, make, depth=120, answer=None):
        """Keeps so many commands in flight in each session, which `make` makes from it. `answer`: what is done about an R2T;
        without it none is answered."""
        flying, by_link = dict.fromkeys(sessions, 0), list(sessions)
        while self.going():
            for session in by_link:
                batch = []
                while flying[session] < depth and session.window_open():
                    batch.append(make(session))
                    flying[session] += 1
                session.raw(b"".join(batch))
            for session in select.select(by_link, [], [], 0.05)[0]:
                while True:
                    pdu = session.receive()
                    if pdu.opcode in (SCSI_RESPONSE, REJECT) or pdu.opcode == DATA_IN and pdu.flags & 1:
                        flying[session] -= 1
                        self.done()
                    elif pdu.opcode == NOP_IN and pdu.ttt != RESERVED_TAG:
                        session.send(bhs(NOP_OUT | IMMEDIATE, FINAL, 0, RESERVED_TAG, pdu.ttt,
                                         ((24, session.cmd_sn), (28, session.exp_stat_sn))))
                    elif pdu.opcode == R2T and answer:
                        answer(session, pdu)
                    if len(session.received) < 48:
                        break


def stand_back():
    """Leaves the processors to ringsan, and to who is to hardly notice: attackers on other machines would take nothing of those. (Beside
    a dozen at a priority as here others have, that sent as much to a program that only threw it away, 30 % of the reads were left.)"""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def play(act, site):
    """An attacker's process: begins again when it is thrown out."""
    stand_back()
    while site.going():
        try:
            act(site)
        except (OSError, EOFError, ProtocolError, LoginFailed):
            time.sleep(0.01)
        except Exception:  # pylint: disable=broad-except
            traceback.print_exc()
            return


def buffers(grounds):
    """Bytes of I/O buffers that can be had at once: what several hosts are asked for when all want to write."""
    hosts = []
    try:
        for number in range(8):
            host = grounds.host(number, keys={"ImmediateData": "No", "MaxBurstLength": str(SLICE)})
            host.ready(FILE)
            hosts.append(host)
        total = 0
        for host in hosts:
            host.raw(b"".join(host.command_header(FILE, write10(512 * n, 512), host.new_itt(), 0, SLICE, 0) for n in range(120)))
            while host.received or select.select([host], [], [], 0.05)[0]:
                pdu = host.receive()
                total += pdu.word(44) if pdu.opcode == R2T else 0
        return total
    finally:
        for host in hosts:
            host.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            host.close()


def logins(grounds):
    """How many of LOGINS sessions can be there at once; on which cores, where the log says it."""
    hosts, began = [], grounds.log.stat().st_size
    with contextlib.suppress(OSError, LoginFailed, ProtocolError):
        for number in range(LOGINS):
            hosts.append(grounds.host(number, timeout=3))
    for host in hosts:
        with contextlib.suppress(OSError, ProtocolError):
            host.logout()
    said = grounds.log.read_bytes()[began:]
    return len(hosts), [said.count(b"core=%d " % core) for core in grounds.cores]


class Found:
    """What one attack did."""

    def __init__(self):
        self.calm, self.hurt, self.after = None, None, None
        self.count, self.beside = 0, ""
        self.before, self.now, self.peak, self.lines, self.seconds = {}, {}, 0, 0, 0.0
        # What went wrong, and what only took too long.
        self.errors, self.late = [], []

    def share(self):
        """Of the reads, what was left."""
        return self.hurt[0] / self.calm[0]


def beside(grounds, patience):
    """Somebody else logs in, from another address, and reads: how long that took."""
    began = time.monotonic()
    host = grounds.host(200, timeout=patience)
    host.ready(FILE)
    # Others have reset the unit since, or changed its mode pages.
    while (task := host.execute(FILE, read10(0, 512), expected=SLICE)).sense_code() is not None and task.sense_code()[0] == UNIT_ATTENTION:
        pass
    task.good()
    host.logout()
    return time.monotonic() - began


def state_of(grounds):
    """All that is to be as it was."""
    there, _ = logins(grounds)
    return {"logins": there, "buffers": buffers(grounds), "sessions": grounds.sessions(), "descriptors": grounds.descriptors(),
            "memory": grounds.resident()}


def is_back(before, now, attack):
    """What is not as it was: but for so much memory, so many sessions that are kept, and a few buffers, for some are in small
    pieces."""
    slack_bytes = attack.slack_bytes
    return [what for what, worse in (
        ("sessions", now["sessions"] > before["sessions"] + attack.slack_sessions), ("logins", now["logins"] < before["logins"]), ("buffers", now["buffers"] < before["buffers"] - 8 * SLICE),
        ("descriptors", now["descriptors"] > before["descriptors"]), ("memory", now["memory"] > before["memory"] + slack_bytes)) if worse]


def measure(attack):
    """One attack, on grounds of its own."""
    found = Found()
    with Grounds(attack.cores, attack.files) as grounds:
        guest = grounds.host(100)
        guest.ready(FILE)
        victim = Victim(grounds)
        try:
            found.calm = victim.run(CALM_SECONDS)
            if isinstance(found.calm, str):
                raise ProtocolError(f"without an attack: {found.calm}")
            grounds.fill()
            found.before = state_of(grounds)
            time.sleep(0.1)
            found.before |= {"descriptors": grounds.descriptors(), "sessions": grounds.sessions()}
            assault(attack, grounds, (victim, guest), found)
            if not isinstance(found.hurt, str):
                found.after = victim.run(0.2)
                deadline = time.monotonic() + BACK_SECONDS
                while True:
                    found.now = state_of(grounds)
                    time.sleep(0.1)
                    found.now |= {"descriptors": grounds.descriptors(), "sessions": grounds.sessions()}
                    if not is_back(found.before, found.now, attack) or time.monotonic() > deadline:
                        break
                    time.sleep(0.3)
                if attack.afterwards:
                    attack.afterwards(grounds)
        except TimeoutError as error:
            found.late.append(f"somebody waited too long: {error}")
        except Exception as error:  # pylint: disable=broad-except
            found.errors.append(f"{type(error).__name__}: {error}")
        finally:
            victim.end()
        if not grounds.alive():
            found.errors.append(f"ringsan ended: {grounds.log_tail(3)}")
    return found


def assault(attack, grounds, others, found):
    """The attack itself: attackers come, the victim goes on, somebody else comes, attackers go."""
    victim, guest = others
    ending, count = multiprocessing.Event(), multiprocessing.Value("l", 0)
    attackers = [multiprocessing.Process(target=play, args=(attack.act, Site(grounds, number, ending, count)), daemon=True)
                 for number in range(attack.processes)]
    lines, began = grounds.lines(), time.monotonic()

    def watch():
        found.peak = max(found.peak, grounds.resident() - found.before["memory"])

    for attacker in attackers:
        attacker.start()
    try:
        deadline = time.monotonic() + attack.warm_seconds
        while count.value < attack.least and time.monotonic() < deadline:
            time.sleep(0.02)
            watch()
        time.sleep(SETTLE_SECONDS)
        found.hurt = victim.run(ATTACK_SECONDS, watch)
        if attack.meanwhile:
            attack.meanwhile(grounds, guest)
        if attack.patience:
            found.beside = beside(grounds, attack.patience)
    finally:
        ending.set()
        found.count = count.value
        for attacker in attackers:
            attacker.join(5)
            attacker.kill()
        found.lines, found.seconds = grounds.lines() - lines, time.monotonic() - began
