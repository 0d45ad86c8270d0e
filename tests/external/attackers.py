"""The attacks of the suite of that name: what is done, by how many, and what is bounded while it is. See hostile.py for the frame.

Each function is what one process of an attacker does; it is begun again when ringsan throws it out.
"""

import contextlib
import dataclasses
import select
import socket
import struct
import time
import typing

import initiator as iscsi
from hostile import BLOCK, FILE, LIMITED, LOG_LINES_PER_SECOND, LOGINS, MEMORY, NAMES, SECRETS, SLICE, TARGETS, VICTIM_ISID, Proven, logins
from initiator import (
    DATA_OUT, FINAL, IMMEDIATE, NOP_OUT, R2T, RESERVED_TAG, SNACK, TASK_MANAGEMENT, TEXT, LoginFailed, ProtocolError, Session, bhs, read10,
    synchronize_cache10, write10)
from target import IQN

SHARE, SLOW_SECONDS = 1 / 3, 0.010
ABORT_TASK_SET, LOGICAL_UNIT_RESET = 2, 5
SIMPLE, ORDERED, HEAD_OF_QUEUE = 1, 2, 3
ATTACKS = {}


@dataclasses.dataclass
class Attack:
    """One attack. `act` is what each process of an attacker does."""

    act: typing.Callable
    processes: int = 1
    cores: tuple = (0,)
    # What it must have done, for there to have been an attack, and how long that may take.
    least: int = 1
    # What it may have done at most.
    most: typing.Optional[int] = None
    warm_seconds: float = 5
    slow_seconds: float = SLOW_SECONDS
    share: float = SHARE
    # How long somebody else may wait that comes; None: there is no place for them.
    patience: typing.Optional[float] = 2
    files: typing.Optional[int] = None
    # How much more memory may be in use afterwards: what is kept for the next ones.
    slack_bytes: int = 8 << 20
    # How many sessions may be kept, for those who have lost their connections and may come back.
    slack_sessions: int = 0
    # Is called with the grounds, and a session that was there before.
    meanwhile: typing.Optional[typing.Callable] = None
    afterwards: typing.Optional[typing.Callable] = None


def attack(**named):
    """Makes an attack of a function."""
    def enlist(act):
        ATTACKS[act.__name__] = Attack(act, **named)
        return act
    return enlist


def numbers(session):
    """CmdSN and ExpStatSN."""
    return ((24, session.cmd_sn), (28, session.exp_stat_sn))


def command(session, lun, cdb, read=0, write=0, data=b"", **named):
    """The bytes of a SCSI Command."""
    return session.command_header(lun, cdb, session.new_itt(), read, write, len(data), **named) + data


# Memory of others


def half_written(_grounds, host):
    """What somebody writes whose data takes its time is what is there."""
    data = [bytes((n,)) * 4096 for n in range(1, 33)]
    for n in range(32):
        host.raw(command(host, FILE, write10(100_000 + 8 * n, 8), 0, 4096))
    asked = [host.receive() for _ in data]
    for part in range(2):
        for n, r2t in enumerate(asked):
            head = bhs(DATA_OUT, FINAL * part, 0, r2t.itt, r2t.ttt, ((28, host.exp_stat_sn), (36, part), (40, 2048 * part)), 2048)
            host.send(head[:8] + r2t.header[8:16] + head[16:], data[n][:2048])
        time.sleep(0.4 * (1 - part))
    for _ in data:
        if host.receive().header[3]:
            raise ProtocolError("a write has failed")
    for n, written in enumerate(data):
        if host.execute(FILE, read10(100_000 + 8 * n, 8), expected=4096).good().data_in != written:
            raise ProtocolError("what was written is not there")


@attack(least=20, meanwhile=half_written)
def both_directions(site):
    """reads as large as can be, sent with a few bytes of immediate data (bidirectional)"""
    session = site.session(timeout=1)
    session.ready(FILE)
    while site.going():
        header = bytearray(session.command_header(FILE, read10(0, 512), session.new_itt(), 0, BLOCK, BLOCK))
        header[1], header[4] = 0xE1, 2
        session.raw(bytes(header) + struct.pack(">HBBI", 5, 2, 0, SLICE))
        # The buffer is there, and so is one of the victim's.
        time.sleep(0.005)
        session.raw(b"\xEE" * BLOCK)
        site.done()
        with contextlib.suppress(TimeoutError):
            while session.receive().opcode not in (iscsi.SCSI_RESPONSE, iscsi.REJECT):
                pass


# Answers that nobody reads


def unread(site, more, **named):
    """A session with a small window that asks on and on and never reads."""
    session = site.session(**named)
    session.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    site.push(session, lambda: more(session))


@attack(processes=2, least=10)
def pings_unread(site):
    """pings with 8 KiB each, whose answers are never read"""
    unread(site, lambda session: (bhs(NOP_OUT | IMMEDIATE, FINAL, 0, 77, RESERVED_TAG, numbers(session), 8192) + bytes(8192)) * 8)


def in_step(site, sessions):
    """So many that have 250 pings answered at a time."""
    owed = dict.fromkeys((site.session(f"-{site.number}-{n}") for n in range(sessions)), 0)
    room = memoryview(bytearray(1 << 16))
    while site.going():
        for session, left in owed.items():
            if left <= 0:
                session.raw(bhs(NOP_OUT | IMMEDIATE, FINAL, 0, 77, RESERVED_TAG, numbers(session)) * 250)
                owed[session] += 250 * 48
                site.done()
        for session in select.select(list(owed), [], [], 0.05)[0]:
            count = session.socket.recv_into(room)
            if not count:
                raise EOFError("closed")
            owed[session] -= count


@attack(processes=4, least=640)
def many_pings(site):
    """64 sessions that have 250 pings answered at a time, each as soon as all of them are"""
    in_step(site, 16)


@attack(processes=4, least=40)
def few_pings(site):
    """4 sessions that have 250 pings answered at a time: as many as are acted on in a turn"""
    in_step(site, 1)


@attack(processes=2, least=10)
def snacks_unread(site):
    """SNACKs for 500 responses each, never read"""
    session = site.session(keys={"ErrorRecoveryLevel": "1"})
    first = session.exp_stat_sn
    for number in range(500):
        data = bytes(4096 if number < 16 else 0)
        session.send(bhs(NOP_OUT | IMMEDIATE, FINAL, 0, 77, RESERVED_TAG, ((24, session.cmd_sn), (28, first)), len(data)), data)
        session.receive()
    session.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    site.push(session, lambda: bhs(SNACK, 0x81, 0, RESERVED_TAG, RESERVED_TAG, ((28, first), (40, first), (44, 0))) * 20)


@attack(processes=4, least=4)
def segments_unread(site):
    """32 MiB reads of memory in segments of 512 bytes, never read"""
    session = site.session(keys={"MaxRecvDataSegmentLength": "512", "MaxBurstLength": "16776192"})
    session.ready(MEMORY)
    session.raw(b"".join(command(session, MEMORY, read10(0, 65535), 65535 * BLOCK) for _ in range(60)))
    site.done()
    site.wait()


@attack(processes=8, least=64)
def reads_unread(site):
    """64 sessions at one address that read a file as fast as they can and never look"""
    sessions = [site.session(f"-{number % 4}") for number in range(8)]
    for session in sessions:
        session.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        session.ready(FILE)
        session.raw(b"".join(command(session, FILE, read10(512 * n, 512), SLICE) for n in range(60)))
        site.done()
    site.wait()


@attack(processes=2, least=10)
def discovery_unread(site):
    """SendTargets of all targets, never read"""
    text = b"SendTargets=All\0"
    one = lambda session: bhs(TEXT | IMMEDIATE, FINAL, 0, 5, RESERVED_TAG, numbers(session), len(text)) + text  # noqa: E731
    session = Proven(site.address, "thief", SECRETS["thief"], target=None, initiator=NAMES + "attacker", source="127.0.1.1")
    session.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    site.push(session, lambda: one(session) * 200)


@attack(processes=2, least=10)
def refusals_unread(site):
    """commands that are refused, never read"""
    def refused(session):
        return (session.command_header(200, bytes(6), 5, 0, 0, 0, immediate=True) + bhs(0x1F | IMMEDIATE, FINAL, 0, 5, 0, numbers(session))
                + bhs(TASK_MANAGEMENT | IMMEDIATE, FINAL | ABORT_TASK_SET, MEMORY, 6, RESERVED_TAG, numbers(session))) * 100
    unread(site, refused)


# I/O buffers


@attack(least=200)
def aborted_jobs(site):
    """100 VERIFYs and an ABORT TASK SET right behind, again and again"""
    session = site.session()
    session.ready(FILE)
    while site.going():
        batch = [command(session, FILE, struct.pack(">BBIBHB", 0x2F, 0, 512 * n, 0, 512, 0)) for n in range(100)]
        batch.append(bhs(TASK_MANAGEMENT | IMMEDIATE, FINAL | ABORT_TASK_SET, FILE, session.new_itt(), RESERVED_TAG, numbers(session)))
        session.raw(b"".join(batch))
        while (pdu := session.receive()).opcode != iscsi.TASK_RESPONSE:
            pass
        if pdu.header[2]:
            raise ProtocolError(f"ABORT TASK SET: {pdu.header[2]}")
        site.done(100)


def owe(sessions, lun, cdb):
    """Wants to send 256 KiB with each of 120 commands in each session."""
    for session in sessions:
        session.raw(b"".join(session.command_header(lun, cdb(n), session.new_itt(), 0, SLICE, 0) for n in range(120)))


def pay(session, r2t):
    """Sends all that is asked for."""
    length, offset, number, link = r2t.word(44), r2t.word(40), 0, session.socket
    link.settimeout(10)
    while length:
        now = min(length, session.max_send)
        length -= now
        header = bhs(DATA_OUT, 0 if length else FINAL, 0, r2t.itt, r2t.ttt, ((28, session.exp_stat_sn), (36, number), (40, offset)), now)
        session.send(header[:8] + r2t.header[8:16] + header[16:], bytes(now))
        offset, number = offset + now, number + 1


@attack(processes=6, least=1000, patience=8)
def two_buffers(site):
    """VERIFYs with data, of many hosts, each of which needs a second buffer"""
    sessions = [site.session(f"-{site.number}-{n}", host=10 * site.number + n, keys={"ImmediateData": "No", "MaxBurstLength": str(SLICE)})
                for n in range(2)]
    for session in sessions:
        session.ready(FILE)
    # All are asked before any of them sends.
    time.sleep(0.2)
    site.ask(sessions, lambda session: session.command_header(FILE, struct.pack(">BBIBHB", 0x2F, 2, 0, 0, 512, 0), session.new_itt(), 0, SLICE, 0),
             answer=pay)


def hogs(site, host):
    """Ten sessions that want to write and do not send."""
    sessions = [site.session(f"-{10 * site.number + n}", host=host(10 * site.number + n),
                             keys={"ImmediateData": "No", "MaxBurstLength": str(SLICE)}) for n in range(10)]
    for session in sessions:
        session.ready(FILE)
    site.done(len(sessions))
    site.ask(sessions, lambda session: command(session, FILE, write10(0, 512), 0, SLICE))


@attack(processes=4, least=40)
def data_never_sent(site):
    """40 sessions at one address that are asked for data and send none"""
    hogs(site, lambda number: None)


# Beside so many addresses who comes and wants a large buffer waits until one of theirs is overdue.
@attack(processes=4, least=40, patience=8)
def data_never_sent_by_many(site):
    """40 hosts that are asked for data and send none"""
    hogs(site, lambda number: number)


@attack(processes=4, least=40)
def half_a_pdu(site):
    """40 sessions at one address that send all but the last byte of 256 KiB, and no more for ever"""
    sessions = [site.session(f"-{10 * site.number + n}") for n in range(10)]
    for session in sessions:
        session.ready(FILE)
        session.raw(command(session, FILE, write10(0, 512), 0, SLICE, bytes(SLICE))[:-1])
        site.done()
    site.wait()


@attack(processes=2, least=20)
def out_of_order(site):
    """commands with 256 KiB each, all but the first of those that are due"""
    sessions = [site.session(f"-{site.number}-{n}") for n in range(10)]
    for session in sessions:
        session.ready(FILE)
        session.cmd_sn += 1
        session.socket.setblocking(False)
        rest = memoryview(b"".join(command(session, FILE, write10(512 * n, 512), 0, SLICE, bytes(SLICE)) for n in range(30)))
        with contextlib.suppress(BlockingIOError):
            while rest:
                rest = rest[session.socket.send(rest):]
        site.done()
    site.wait()


@attack(processes=2, least=2)
def waiting_at_a_limit(site):
    """writes of 256 KiB to a unit that may do 20 a second"""
    sessions = [site.session(f"-{site.number}-{n}") for n in range(4)]
    for session in sessions:
        session.ready(LIMITED)
        session.socket.settimeout(30)
        site.done()
    site.ask(sessions, lambda session: command(session, LIMITED, write10(0, 512), 0, SLICE), answer=pay)


# Work


@attack(processes=2, least=2000)
def flushes(site):
    """SYNCHRONIZE CACHE with IMMED as fast as it is answered, with writes between"""
    session = site.session()
    session.ready(FILE)

    def make(session):
        if session.rng.random() < 0.02:
            return command(session, FILE, write10(8 * session.rng.randrange(8000), 8), 0, 4096, bytes(4096))
        return command(session, FILE, synchronize_cache10(immed=True))
    session.rng = site.rng
    site.ask([session], make)


@attack(processes=2, least=10)
def jobs_on_memory(site):
    """VERIFY, WRITE SAME and WRITE SAME with UNMAP of all of a unit in memory, 128 at a time"""
    session = site.session()
    session.ready(MEMORY)
    kinds = (lambda s: command(s, MEMORY, struct.pack(">BBIBHB", 0x2F, 0, 0, 0, 65535, 0)),
             lambda s: command(s, MEMORY, struct.pack(">BBIBHB", 0x41, 0, 0, 0, 65535, 0), 0, BLOCK, bytes(BLOCK)),
             lambda s: command(s, MEMORY, struct.pack(">BBIBHB", 0x41, 8, 0, 0, 65535, 0), 0, BLOCK, bytes(BLOCK)))
    site.ask([session], lambda s: site.rng.choice(kinds)(s))


@attack(processes=2, least=100)
def holes(site):
    """UNMAP, and GET LBA STATUS, of pieces of a file"""
    session = site.session()
    session.ready(FILE)

    def make(session):
        if site.rng.random() < 0.5:
            return command(session, FILE, struct.pack(">BBQIBB", 0x9E, 0x12, 0, 65536, 0, 0), 65536)
        ranges = b"".join(struct.pack(">QII", 16 * site.rng.randrange(8000), 8, 0) for _ in range(64))
        data = struct.pack(">HHI", 6 + len(ranges), len(ranges), 0) + ranges
        return command(session, FILE, struct.pack(">B6xHx", 0x42, len(data)), 0, len(data), data)
    site.ask([session], make)


@attack(processes=2, least=20)
def copies(site):
    """EXTENDED COPY of 32 MiB within a unit in memory, as many as are let"""
    session = site.session()
    session.ready(MEMORY)
    page = session.execute(MEMORY, bytes((0x12, 1, 0x83, 2, 0, 0)), expected=512).good().data_in
    at = 4
    while page[at + 1] & 0x3F != 3:
        at += 4 + page[at + 3]
    name = bytes(page[at:at + 4 + page[at + 3]])
    cscd = b"\xE4\0\0\0" + name + bytes(24 - len(name)) + struct.pack(">I", BLOCK)
    segment = struct.pack(">BBHHHHHQQ", 2, 0, 24, 0, 0, 0, 65535, 0, 65536)
    sequence = iter(range(1 << 30))

    def make(session):
        header = struct.pack(">BBHIII", next(sequence) & 0xFF, 0, len(cscd), 0, len(segment), 0)
        data = header + cscd + segment
        return command(session, MEMORY, struct.pack(">BB8xIxx", 0x83, 0, len(data)), 0, len(data), data)
    site.ask([session], make)


@attack(processes=2, least=50)
def resets(site):
    """LOGICAL UNIT RESET and ABORT TASK SET on writes in flight"""
    session = site.session()
    session.ready(MEMORY)
    session.ready(FILE)
    while site.going():
        for lun in (MEMORY, FILE):
            batch = [command(session, lun, write10(512 * n, 512), 0, SLICE) for n in range(30)]
            function = site.rng.choice((ABORT_TASK_SET, LOGICAL_UNIT_RESET))
            batch.append(bhs(TASK_MANAGEMENT | IMMEDIATE, FINAL | function, lun, session.new_itt(), RESERVED_TAG, numbers(session)))
            session.raw(b"".join(batch))
            while (pdu := session.receive()).opcode != iscsi.TASK_RESPONSE:
                if pdu.opcode == R2T:
                    session.send(bhs(DATA_OUT, FINAL, lun, pdu.itt, pdu.ttt, ((28, session.exp_stat_sn),), 512), bytes(512))
            site.done()


# Tasks that have been there leave room for as many.
@attack(processes=2, least=4000, slack_bytes=32 << 20)
def resets_of_many(site):
    """LOGICAL UNIT RESET while 80 sessions have 100 VERIFYs each"""
    sessions = [site.session(f"-{site.number}-{n}") for n in range(40)]
    for session in sessions:
        session.ready(FILE)
    verify = struct.pack(">BBIBHB", 0x2F, 0, 0, 0, 512, 0)
    while site.going():
        for session in sessions:
            session.raw(b"".join(command(session, FILE, verify) for _ in range(100)))
        first, *_ = sessions
        first.raw(bhs(TASK_MANAGEMENT | IMMEDIATE, FINAL | LOGICAL_UNIT_RESET, FILE, first.new_itt(), RESERVED_TAG, numbers(first)))
        while first.receive().opcode != iscsi.TASK_RESPONSE:
            pass
        for session in sessions:
            session.raw(bhs(NOP_OUT | IMMEDIATE, FINAL, 0, 77, RESERVED_TAG, numbers(session)))
        for session in sessions:
            while session.receive().opcode != iscsi.NOP_IN:
                pass
            site.done(100)


@attack(processes=2, least=20)
def saving(site):
    """mode pages that are saved, and reservations that outlive the power, again and again"""
    session = site.session(f"-{site.number}")
    session.ready(FILE)
    page = session.execute(FILE, struct.pack(">BBBB3xHx", 0x5A, 8, 8, 0, 255), expected=255).good().data_in
    page = bytes(page[8:8 + 2 + page[9]])

    def make(session):
        if site.rng.random() < 0.5:
            data = bytes(8) + bytes((page[0] & 0x7F, page[1], site.rng.choice((page[2], page[2] ^ 4)))) + page[3:]
            return command(session, FILE, struct.pack(">BB5xHx", 0x55, 0x11, len(data)), 0, len(data), data)
        data = struct.pack(">QQ4xB3x", 0, site.rng.getrandbits(63), 1)
        return command(session, FILE, struct.pack(">BBB2xIx", 0x5F, 6, 0, len(data)), 0, len(data), data)
    site.ask([session], make, depth=60)


def another_registers(_grounds, host):
    """Somebody else gets a place in the table, too."""
    data = struct.pack(">QQ8x", 0, 0x77)
    host.execute(FILE, struct.pack(">BBB2xIx", 0x5F, 6, 0, len(data)), data).good()
    host.execute(FILE, struct.pack(">BBB2xIx", 0x5F, 6, 0, len(data)), bytes(24)).good()


@attack(processes=4, least=1100, warm_seconds=10, meanwhile=another_registers)
def registrations(site):
    """one host that registers for reservations from ever new ports"""
    while site.going():
        with contextlib.closing(site.session()) as session:
            session.ready(FILE)
            data = struct.pack(">QQ8x", 0, 5)
            session.execute(FILE, struct.pack(">BBB2xIx", 0x5F, 6, 0, len(data)), data)
        site.done()


@attack(processes=4, least=500)
def full_status(site):
    """READ FULL STATUS of 512 registrations, all of it or just how long it is, 120 at a time"""
    session = site.session(f"-{site.number}", isid=1)
    session.ready(FILE)
    ids = b""
    for isid in range(2, 129):
        port = f"{NAMES}attacker-{site.number},i,0x{isid:012x}".encode()
        port += bytes(4 - len(port) % 4)
        ids += struct.pack(">BxH", 0x45, len(port)) + port
    data = struct.pack(">QQ4xB3xI", 0, 5, 8, len(ids)) + ids
    session.execute(FILE, struct.pack(">BBB2xIx", 0x5F, 0, 0, len(data)), data)

    def make(session):
        length = site.rng.choice((8, 65535))
        return command(session, FILE, struct.pack(">BB5xHx", 0x5E, 3, length), length)
    site.ask([session], make)


@attack(processes=2, least=200)
def head_of_queue(site):
    """commands to the head of a queue in which 120 others wait for an ORDERED write whose data never comes"""
    session = site.session(keys={"ImmediateData": "No"}, timeout=5)
    session.ready(FILE)

    def asked(attribute, cdb=bytes(6), write=0):
        header = bytearray(command(session, FILE, cdb, 0, write))
        header[1] = header[1] & 0xF8 | attribute
        return bytes(header)
    session.raw(b"".join(asked(SIMPLE, write10(n, 1), BLOCK) for n in range(100)) + asked(ORDERED, write10(200, 1), BLOCK))
    for r2t in [session.receive() for _ in range(100)]:
        pay(session, r2t)
    while session.receive().opcode != R2T:
        pass
    session.raw(b"".join(asked(SIMPLE) for _ in range(120)))
    site.push(session, lambda: b"".join(asked(HEAD_OF_QUEUE) for _ in range(100)), read=True)


# Requests in crumbs


@attack(processes=2, least=10)
def crumbs(site):
    """writes whose data comes in PDUs of four bytes"""
    session = site.session(keys={"ImmediateData": "No", "MaxBurstLength": str(SLICE)})
    session.ready(MEMORY)
    while site.going():
        session.raw(command(session, MEMORY, write10(0, 512), 0, SLICE))
        r2t = session.receive()
        head = bhs(DATA_OUT, 0, 0, r2t.itt, r2t.ttt, ((28, session.exp_stat_sn),), 4)
        head = head[:8] + r2t.header[8:16] + head[16:36]
        session.raw(b"".join(head + struct.pack(">II4x", n, 4 * n) + b"data" for n in range(4096)))
        session.raw(bhs(TASK_MANAGEMENT | IMMEDIATE, FINAL | ABORT_TASK_SET, MEMORY, session.new_itt(), RESERVED_TAG, numbers(session)))
        while session.receive().opcode != iscsi.TASK_RESPONSE:
            pass
        site.done()


@attack(processes=2, least=500)
def drops(site):
    """pings of which each byte comes in a segment of its own"""
    session = site.session()
    ping = bhs(NOP_OUT | IMMEDIATE, FINAL, 0, 77, RESERVED_TAG, numbers(session))
    session.socket.settimeout(10)
    while site.going():
        for byte in ping:
            session.socket.send(bytes((byte,)))
        site.done(len(ping))
        session.receive()


@attack(processes=2, least=10)
def texts_without_end(site):
    """40 sessions with a Text Request that goes on and on"""
    sessions = [site.session(f"-{site.number}-{n}") for n in range(20)]
    ttts = dict.fromkeys(sessions, RESERVED_TAG)
    while site.going():
        for session in sessions:
            data = b"X-Filler=" + b"x" * 8000
            session.send(bhs(TEXT | IMMEDIATE, 0x40, 0, 5, ttts[session], numbers(session), len(data)), data)
        for session in sessions:
            pdu = session.receive()
            ttts[session] = pdu.ttt if pdu.opcode == iscsi.TEXT_RESPONSE else RESERVED_TAG
        site.done()


# Sessions and connections


@attack(processes=4, least=1500, warm_seconds=10, slack_sessions=64)
def lost_sessions(site):
    """sessions that lose their connections and want to be kept for an hour"""
    keys = {"ErrorRecoveryLevel": "2", "DefaultTime2Wait": "3600", "DefaultTime2Retain": "3600"}
    while site.going():
        session = site.session(f"-{site.rng.randrange(100)}", keys=keys)
        session.raw(command(session, MEMORY, write10(0, 512), 0, SLICE))
        session.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        session.close()
        site.done()


def spread(grounds):
    """Handles that are left behind weigh on the core that they are of: sessions that come go elsewhere."""
    time.sleep(1.1)
    there, cores = logins(grounds)
    if there != LOGINS or min(cores) < min(LOGINS, LOG_LINES_PER_SECOND) // 2:
        raise ProtocolError(f"of {there} sessions that came then, the log places {cores} on the two cores")


@attack(processes=4, cores=(0, 1), least=1000, warm_seconds=10, afterwards=spread)
def broken_logins(site):
    """logins that break while their session moves to another core, or waits for the end of the one that it replaces"""
    names = {"InitiatorName": f"{NAMES}attacker-{site.number}", "SessionType": "Normal", "TargetName": IQN}
    text = b"".join(f"{key}={value}\0".encode() for key, value in names.items())
    while site.going():
        session = site.session(f"-{site.number}", isid=1)
        session.ready(FILE)
        session.raw(b"".join(command(session, FILE, write10(512 * n, 128, fua=True), 0, SLICE // 4, bytes(SLICE // 4)) for n in range(4)))
        for number in range(20):
            link = socket.create_connection(site.address, source_address=("127.0.1.1", 0))
            header = bytearray(bhs(iscsi.LOGIN | IMMEDIATE, 0x87, itt=0, fields=((24, 1),), data_length=len(text)))
            header[8:14] = b"\x80" + (number % 4).to_bytes(3, "big") + b"\0\0"
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link.sendall(bytes(header) + text + bytes(-len(text) % 4))
            if site.rng.random() < 0.5:
                time.sleep(site.rng.random() / 2000)
            link.close()
            site.done()
        session.close()


@attack(processes=2, least=4000, warm_seconds=20, slack_bytes=24 << 20)
def crowd(site):
    """as many sessions from one address as a core takes connections"""
    kept = []
    while site.going():
        if len(kept) >= 2200:
            site.ending.wait(0.1)
            continue
        site.done()
        try:
            kept.append(site.session(f"-{site.number}-{len(kept)}", timeout=5))
        except OSError:
            time.sleep(0.001)


@attack(processes=2, least=100, slack_sessions=16)
def legs(site):
    """connections that join a session and are reinstated, again and again"""
    session = site.session(f"-{site.number}", keys={"MaxConnections": "8", "ErrorRecoveryLevel": "2", "DefaultTime2Retain": "60"})
    session.ready(FILE)
    while site.going():
        for cid in range(1, 8):
            leg = iscsi.Leg(site.address, session, cid)
            leg.raw(command(leg, FILE, write10(0, 512), 0, SLICE))
            leg.close()
            site.done()
        session.socket.settimeout(5)
        session.raw(bhs(TASK_MANAGEMENT | IMMEDIATE, FINAL | ABORT_TASK_SET, FILE, session.new_itt(), RESERVED_TAG, numbers(session)))
        while session.receive().opcode != iscsi.TASK_RESPONSE:
            pass


@attack(processes=4, least=8, most=128)
def guesses(site):
    """guesses at a secret, 40 at a time"""
    def begin():
        guess = Proven.__new__(Proven)
        iscsi.Connection.__init__(guess, site.address, 10, "127.0.1.1")
        guess.isid = b"\x80" + site.rng.randbytes(3) + b"\0\0"
        guess.step(0x00, {"InitiatorName": NAMES + "guesses", "SessionType": "Normal", "TargetName": IQN, "AuthMethod": "CHAP"})
        guess.step(0x00, {"CHAP_A": "5"})
        text = b"CHAP_N=victim\0CHAP_R=0x" + site.rng.randbytes(16).hex().encode() + b"\0"
        header = bytearray(bhs(iscsi.LOGIN | IMMEDIATE, 0x81, itt=0, fields=((24, 1), (28, guess.exp_stat_sn)), data_length=len(text)))
        header[8:14] = guess.isid
        guess.send(bytes(header), text)
        return guess
    while site.going():
        waiting = [begin() for _ in range(10)]
        for guess in waiting:
            while site.going():
                guess.socket.settimeout(0.1)
                with contextlib.suppress(TimeoutError):
                    guess.receive()
                    site.done()
                    break
            guess.close()


def descriptors_are_kept(grounds, host):
    """There is one for the state of a registration, and nobody spins."""
    used = grounds.processor_seconds()
    data = struct.pack(">QQ4xB3x", 0, 0x77, 1)
    host.execute(FILE, struct.pack(">BBB2xIx", 0x5F, 6, 0, len(data)), data).good()
    time.sleep(1)
    used = grounds.processor_seconds() - used
    if used > 0.5:
        raise ProtocolError(f"{used:.1f} s of a processor were used in one")


@attack(least=280, files=256, patience=None, meanwhile=descriptors_are_kept)
def descriptors(site):
    """more connections, from many addresses, than files may be open"""
    kept = []
    for host in range(300):
        with contextlib.suppress(OSError, LoginFailed):
            kept.append(site.session(host=host, timeout=0.5))
        site.done()
    site.wait()


@attack(least=280, files=256)
def descriptors_of_one_address(site):
    """more connections from one address than files may be open"""
    kept = []
    for _ in range(300):
        with contextlib.suppress(OSError, LoginFailed):
            kept.append(site.session(timeout=0.5))
        site.done()
    site.wait()


@attack(processes=2, least=100)
def rejects(site):
    """logins that are refused, digests that are wrong, and PDUs that end their connection"""
    while site.going():
        with contextlib.suppress(OSError, LoginFailed):
            site.session(target="iqn.2026-11.io.ringsan:nowhere")
        with contextlib.closing(site.session(keys={"HeaderDigest": "CRC32C"})) as session, contextlib.suppress(OSError):
            session.raw(bhs(NOP_OUT | IMMEDIATE, FINAL, 0, 77, RESERVED_TAG, numbers(session)) + b"nope")
            session.receive()
        with contextlib.closing(site.session()) as session, contextlib.suppress(OSError):
            session.raw(bhs(NOP_OUT | IMMEDIATE, FINAL, 0, 77, RESERVED_TAG, numbers(session), 0xFFFFFF))
            session.receive()
        site.done()


# Doors


@attack(processes=2, least=20)
def in_anothers_name(site):
    """another account that logs in by the victim's name and ISID"""
    while site.going():
        with contextlib.closing(Proven(site.address, "thief", SECRETS["thief"], initiator=NAMES + "victim", isid=VICTIM_ISID)) as session:
            session.ready(0)
        site.done()


@attack(least=20)
def looking_around(site):
    """a discovery session that names an open target, to be told of all"""
    text = b"SendTargets=All\0"
    while site.going():
        try:
            session = Session(site.address, f"{IQN}-1", f"{NAMES}attacker", source="127.0.1.1", keys={"SessionType": "Discovery"})
        except LoginFailed:
            site.done()
            continue
        session.send(bhs(TEXT | IMMEDIATE, FINAL, 0, 5, RESERVED_TAG, numbers(session), len(text)), text)
        told = session.receive().data.count(b"TargetName=")
        raise AssertionError(f"it was told of {told} targets without an account (there are {TARGETS})")
