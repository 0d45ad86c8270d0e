"""Checks of faulty-media on rules that are not about what a medium says, but that a slow or failing one could break."""

import pathlib
import queue
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from disk import BLOCK, FILES, HARDWARE_ERROR, MIB, Disk, let_it_answer, read, until, write  # noqa: E402
from initiator import Task, read10, write10  # noqa: E402
from target import Target, TargetError, free_port  # noqa: E402

SLICE = 256 * 1024
SIMPLE, ORDERED = 1, 2
# Bidirectional Read Expected Data Length (RFC 7143 section 11.2.2.4).
BOTH_WAYS = struct.pack(">HBBI", 5, 2, 0, SLICE)


def with_attribute(session, attribute, cdb, data=b"", expected=0):
    """Sends a command of that task attribute, with its data; its task."""
    task = Task(session.new_itt(), data, expected)
    session.tasks[task.itt] = task
    header = bytearray(session.command_header(0, cdb, task.itt, expected, len(data), len(data)))
    header[1] = header[1] & ~7 | attribute
    session.send(bytes(header), data)
    return task


def read_with_data(checks):
    """A READ that brings a little data: what the medium gives goes into no buffer that is shorter."""
    with Disk(content=b"D" * 4096) as disk:
        victim, peer = disk.host("victim"), disk.host("peer")
        # The rest comes when it is asked for and the peer has had its turn.
        victim.immediate = 2048
        disk.medium.rule("read", FILES[0], delay=0.1)
        wrong = []
        for turn in range(3):
            lines = [bytes([turn, number]) * 2048 for number in range(64)]
            tasks = [victim.submit(1, write10(number * 8, 8), data) for number, data in enumerate(lines)]
            for number in range(8):
                header = bytearray(peer.command_header(0, read10(number * 512, SLICE // BLOCK), peer.new_itt(), 4096, 4096, 4096))
                header[4] = len(BOTH_WAYS) // 4
                peer.raw(bytes(header) + BOTH_WAYS)
                # Its buffer is there before it is.
                time.sleep(0.005)
                peer.raw(b"p" * 4096)
            time.sleep(0.5)
            for task in tasks:
                until(victim, task).good()
            wrong += [number for number, data in enumerate(lines) if read(victim, number * 8, 8, lun=1).good().data_in != data]
        checks.check("reads that bring less data than they read overwrite nobody's buffers on a slow medium", not wrong, wrong)


def two_that_start(checks):
    """Two ringsans make the same file at once: one has it, and it stays."""
    told = []
    with Disk() as disk:
        for turn in range(6):
            disk.kill()
            disk.medium.rule("allocate", delay=0.1)
            disk.medium.rule("fsync", delay=0.05)
            name = disk.medium.path / f"made{turn}.img"
            disk.luns = [f"path={name.relative_to(disk.folder)},size=1MiB"]
            other = Target(disk.luns, ["--cores", "1"])
            other.folder.rmdir()
            other.folder, other.log = disk.folder, disk.folder / "other.log"
            ends, over = queue.SimpleQueue(), threading.Event()

            def start(one, ends=ends, over=over):
                try:
                    ends.put(one.start())
                except TargetError:
                    ends.put(None)
                # A process that is started dies with the thread that did it.
                over.wait()
            for one in (disk, other):
                threading.Thread(target=start, args=(one,), daemon=True).start()
            serving = [one for one in (ends.get(), ends.get()) if one]
            there = name.exists() and name.stat().st_size == MIB
            if len(serving) == 1 and there:
                disk.port, other.port = serving[0].port, free_port()
                write(disk.host("a", luns=(0,)), 0, bytes([65 + turn]) * 4096).good()
                there = name.read_bytes()[:4096] == bytes([65 + turn]) * 4096
            told.append((len(serving), there))
            other.kill()
            over.set()
    checks.check("of two that make the same file on a slow medium one has it, and it stays", set(told) == {(1, True)}, told)


def ordered(checks):
    """What an ORDERED command waits for may take as long as the medium likes."""
    with Disk() as disk:
        host = disk.host("a")
        first = disk.medium.rule("write", FILES[0], end=MIB, hang=True)
        before = with_attribute(host, SIMPLE, write10(0, 8), b"a" * 4096)
        disk.medium.wait(first)
        between = with_attribute(host, ORDERED, write10(MIB // BLOCK, 8), b"b" * 4096)
        behind = with_attribute(host, SIMPLE, read10(MIB // BLOCK, 8), expected=4096)
        let_it_answer(host)
        early = [task.status for task in (before, between, behind)]
        checks.check("while a write hangs, neither an ORDERED one nor what is behind that is begun", early == [None] * 3, early)
        disk.medium.release()
        for task in (before, between, behind):
            until(host, task).good()
        checks.check("then they come in their order", bytes(behind.data_in) == b"b" * 4096, bytes(behind.data_in[:8]))


def register(host, key, new_key, aptpl):
    """PERSISTENT RESERVE OUT, REGISTER; its sense."""
    data = struct.pack(">QQIBBH", key, new_key, 0, 1 if aptpl else 0, 0, 0)
    return host.execute(0, struct.pack(">BBBBBIB", 0x5F, 0, 0, 0, 0, len(data), 0), data).sense_code()


def keys(host):
    """The registered reservation keys."""
    data = bytes(host.execute(0, struct.pack(">BBBBBBBHB", 0x5E, 0, 0, 0, 0, 0, 0, 256, 0), expected=256).good().data_in)
    return sorted(struct.unpack_from(">Q", data, 8 + at)[0] for at in range(0, struct.unpack_from(">I", data, 4)[0], 8))


def saved_or_not(checks):
    """What a medium does not take of the saved state is not in force; who a unit is does not depend on it."""
    with Disk() as disk:
        disk.kill()
        # Whoever else makes the directory need not have its name last.
        (disk.medium.path / "state").mkdir(mode=0o700)
        disk.options += ["--state", "medium/files/state"]
        disk.start()
        serial = bytes(disk.host("a").execute(0, b"\x12\x01\x80\0\xff\0", expected=255).good().data_in)
        one, two = disk.host("one"), disk.host("two")
        told = [register(one, 0, 1, True), register(two, 0, 2, True)]
        disk.medium.rule("fsync", error="EIO", times=1)
        told.append(register(one, 1, 7, True))
        checks.check("a registration that cannot be saved is an error, and not in force",
                     told[:2] == [None] * 2 and told[2] and told[2][0] == HARDWARE_ERROR and keys(two) == [1, 2], (told, keys(two)))
        disk.medium.freeze()
        disk.kill()
        disk.medium.cut(31)
        disk.start()
        two = disk.host("two")
        again = bytes(two.execute(0, b"\x12\x01\x80\0\xff\0", expected=255).good().data_in)
        checks.check("both paths that were saved are registered after a loss of power", keys(two) == [1, 2], keys(two))
        checks.check("and the unit has its serial number", serial == again, (serial, again))


CHECKS = [read_with_data, two_that_start, ordered, saved_or_not]
