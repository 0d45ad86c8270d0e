"""Checks of faulty-media on requests that hang: who waits for what is on the medium, and who does not."""

import os
import pathlib
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from disk import BLOCK, FILES, MIB, PROMPT_SECONDS, SIZE, Disk, let_it_answer, prompt, read, until, write  # noqa: E402
from initiator import ABORT_TASK, LOGICAL_UNIT_RESET, R2T, read10, synchronize_cache10, write10  # noqa: E402
from target import IQN, ROOT, die_with_parent  # noqa: E402

# The token that stands for zeroes (SPC-5).
ZEROES = struct.pack(">IHH", 0xFFFF0001, 0, 504) + bytes(504)
LIST = 7
# Longer than a function waits, and not so long that the clock of all cores stands still.
PAUSE_SECONDS = 1.5


def hung_unit(checks):
    with Disk() as disk:
        host, other = disk.host("a"), disk.host("b")
        rules = [disk.medium.rule(op, FILES[0], hang=True) for op in ("write", "read", "fsync")]
        tasks = [host.submit(0, cdb, data, expected) for cdb, data, expected in (
            (write10(0, 8), b"w" * 4096, 0), (read10(4096, 8), b"", 4096), (synchronize_cache10(), b"", 0))]
        for rule in rules[:2]:
            disk.medium.wait(rule)
        took = prompt(lambda: (write(other, 0, b"o" * 4096, lun=1).good(), read(other, 0, 8, lun=1).good(), other.nop(b"ping")))
        checks.check("while one unit hangs, another answers", took < PROMPT_SECONDS, f"{took:.2f} s")
        took = prompt(lambda: host.nop(b"ping") if not host.tasks else other.nop(b"ping"))
        checks.check("and pings are answered", took < PROMPT_SECONDS, f"{took:.2f} s")
        answers = []
        took = prompt(lambda: answers.extend(host.manage(ABORT_TASK, 0, task) for task in tasks))
        checks.check("and task management", took < 3 * PROMPT_SECONDS and answers == [0] * 3, (answers, f"{took:.2f} s"))
        took = prompt(lambda: disk.host("c", luns=(1,)))
        checks.check("and a login", took < PROMPT_SECONDS, f"{took:.2f} s")
        disk.medium.release()
        with checks.step("when it goes on, so does its unit"):
            write(other, 0, b"n" * 4096).good()
            if read(other, 0, 8).good().data_in != b"n" * 4096:
                raise AssertionError("the old write is over the new one")


def reset_in_a_pause(checks):
    """A machine that stands still for longer than a reset may take does not have it refused: the other core stood still, too."""
    with Disk(cores="0,1") as disk:
        host, others = disk.host("a"), [disk.host(f"b{n}") for n in range(3)]
        answers = []
        for _ in range(4):
            rule = disk.medium.rule("write", FILES[0], hang=True)
            for n, other in enumerate(others):
                other.submit(0, write10(8 * n, 8), b"w" * 4096)
            disk.medium.wait(rule, hits=len(others))
            host.ask(LOGICAL_UNIT_RESET)
            # Until the other cores have been told.
            time.sleep(0.05)
            disk.process.send_signal(signal.SIGSTOP)
            time.sleep(PAUSE_SECONDS)
            disk.process.send_signal(signal.SIGCONT)
            answers.append(host.managed())
            disk.medium.release()
            for other in others:
                other.tasks.clear()
                other.ready(0)
            host.ready(0)
        checks.check("a reset is not refused for a pause of the machine", answers == [0] * len(answers), answers)


def hung_seek(checks):
    with Disk(",thin") as disk:
        host, other = disk.host("a"), disk.host("b")
        rule = disk.medium.rule("seek", FILES[0], hang=True)
        asking = host.submit(0, struct.pack(">BBQIBB", 0x9E, 0x12, 0, 64, 0, 0), expected=64)
        disk.medium.wait(rule)
        other.socket.settimeout(PROMPT_SECONDS)
        try:
            took = prompt(lambda: read(other, 0, 8, lun=1).good())
        except TimeoutError:
            took = PROMPT_SECONDS
        checks.check("while GET LBA STATUS of one unit hangs, another answers", took < PROMPT_SECONDS, f"{took:.2f} s")
        disk.medium.release()
        until(host, asking).good()


class Configured(Disk):
    """With a file that SIGHUP has read again: `luns` are tables of LUNs by number, in TOML."""

    def __init__(self, more=""):
        super().__init__(more)
        self.luns = {number: f'path = "medium/files/{name}"' for number, name in enumerate(FILES)}
        # On the disk of the test, which answers.
        for name in ("a.img", "b.img"):
            with open(self.folder / name, "wb") as file:
                file.truncate(SIZE)
        self.write_file()

    def write_file(self):
        tables = "".join(f"[[target.lun]]\nnumber = {number}\n{table}\n" for number, table in self.luns.items())
        (self.folder / "hung.toml").write_text(f'[[portal]]\nlisten = "127.0.0.1:{self.port}"\n[[target]]\nname = "{IQN}"\n{tables}')

    def arguments(self):
        return ["serve", "--config", "hung.toml"]

    def reload(self, seconds=20):
        """What the log says of it; nothing if nothing came of it."""
        at = len(self.log_text())
        self.write_file()
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if "configuration read again" in (said := self.log_text()[at:]):
                return said
            time.sleep(0.02)
        return ""


def asks(disk, op):
    """Whether the medium is asked that of the first unit while nobody uses it; it does not answer from then on."""
    return disk.medium.ask("wait", rule=disk.medium.rule(op, FILES[0], hang=True), hits=1, seconds=10)


def hung_stat(checks):
    for op, more in (("getattr", ""), ("statfs", "\nthin = true")):
        disk = Configured(more and ",thin")
        disk.luns[0] += more
        with disk:
            asked = asks(disk, op)
            # That another one was cut short is said by who looks at it.
            os.truncate(disk.medium.path / FILES[1], MIB)
            deadline = time.monotonic() + 20
            while not (cut := "was cut short" in disk.log_text()) and time.monotonic() < deadline:
                time.sleep(0.05)
            checks.check(f"{op} of one unit hangs: others are looked at", asked and cut, (asked, disk.log_text()[-300:]))
            disk.luns[2] = 'path = "a.img"'
            # A reload has a minute for what it reads.
            said = disk.reload(90)
            if op == "getattr":
                checks.check(f"{op}: a reload that names it changes nothing", "does not answer" in said, said)
            else:
                checks.check(f"{op}: a LUN is added beside it", "LUN 2 of" in said and "added" in said, said)
            del disk.luns[0]
            said = disk.reload(90)
            checks.check(f"{op}: it is removed", "LUN 0 of" in said and "removed" in said, said)
            took = prompt(lambda: read(disk.host("c", luns=(2,)), 0, 8, lun=2).good()) if said else None
            checks.check(f"{op}: and what was added is served", took is not None, took)
            disk.medium.release()


def hung_reload(checks):
    """Of what a reload opens. It has a minute for that."""
    disk = Configured()
    with disk:
        name = "new.img"
        rule = disk.medium.rule("fsync", name, hang=True)
        disk.luns |= {2: 'path = "a.img"', 3: f'path = "medium/files/{name}"\nsize = "1MiB"\ncreate = true'}
        said = disk.reload(90)
        asked = disk.medium.ask("wait", rule=rule, hits=1, seconds=0)
        added = "LUN 2 of" in said and "added" in said
        checks.check("a LUN whose file hangs is left out, and the others are served", asked and "does not answer" in said and added, (asked, said))
        del disk.luns[3]
        disk.reload()
        checks.check("and can be read", bool(said) and read(disk.host("c", luns=(2,)), 0, 8, lun=2).good())
        disk.medium.release()
        deadline = time.monotonic() + 10
        while (disk.medium.path / name).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        checks.check("what is made late is taken back", not (disk.medium.path / name).exists())


def hung_start(checks):
    disk = Configured()
    try:
        # Whoever only checks the configuration does not ask for that, and signals still kill him.
        rule = disk.medium.rule("statfs", FILES[0], hang=True)
        program = shlex.split(os.environ.get("RINGSAN", "")) or [str(ROOT / "target" / "release" / "ringsan")]
        with open(disk.log, "ab") as log:
            process = subprocess.Popen(program + disk.arguments(), cwd=disk.folder, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=log, preexec_fn=die_with_parent)
        disk.medium.wait(rule)
        process.send_signal(signal.SIGTERM)
        # FUSE lets nobody go whose request it has, not even kill -9 (NFS does): the process ends when it is answered.
        deadline = time.monotonic() + 10
        while not (ends := "and is not waited for" in disk.log_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        disk.medium.release()
        code = process.wait(20)
        checks.check("SIGTERM ends a start that waits for a medium", ends and code == 0, (ends, code, disk.log_text()[-300:]))
    finally:
        disk.__exit__(None, None, None)


def ghost_write(checks):
    for pause in (0.0, 0.4):
        with Disk() as disk:
            host, path = disk.host("host"), disk.host("host")
            rule = disk.medium.rule("write", FILES[0], hang=True, times=1)
            host.submit(0, write10(0, 8), b"O" * 4096)
            disk.medium.wait(rule)
            host.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            host.close()
            # Before and after the grace that what is aborted has; no event tells of it.
            time.sleep(pause)
            anew = path.submit(0, write10(0, 8), b"N" * 4096)
            let_it_answer(path)
            disk.medium.release()
            told = until(path, anew).sense_code()
            # The ghost has landed when what waits for its range has been.
            read(path, 0, 8).good()
            found = disk.stored(0, 2)
            checks.check(f"{pause} s after its connection was lost, a hung write does not land over a newer one", told is None and found == b"NN",
                         (told, found))


def alone(checks, name, command, wanted, beside=None):
    """That it waits for a write of `X` under way; `wanted`: what is there in the end."""
    with Disk() as disk:
        plain, other = disk.host("x"), disk.host("c")
        rule = disk.medium.rule("write", FILES[0], start=0, end=8 * BLOCK, hang=True)
        writing = plain.submit(0, write10(0, 8), b"X" * 4096)
        disk.medium.wait(rule)
        if beside:
            other.manage(ABORT_TASK, 0, other.submit(0, *beside))
        task = other.submit(0, *command)
        let_it_answer(other)
        both = disk.medium.ask("wait", rule=rule, hits=2, seconds=0)
        disk.medium.release()
        told = [until(plain, writing).sense_code(), until(other, task).sense_code()]
        found = disk.stored(0, 4)
        checks.check(f"{name} waits for a write under way", told[0] is None and found == wanted and not both, (told, found, both))


def exclusive_commands(checks):
    # WRITE ATOMIC is not among them: files do not have it.
    def comparing(lba, byte):
        return struct.pack(">BBQ3xBBB", 0x89, 0, lba, 1, 0, 0), bytes(BLOCK) + byte * BLOCK

    # The write first: a miscompare. The other order, begun before the write was: the write is over it.
    alone(checks, "COMPARE AND WRITE", comparing(0, b"C"), b"XXXX")
    alone(checks, "COMPARE AND WRITE, behind one that was aborted,", comparing(0, b"C"), b"XXXX", comparing(1024, b"1"))
    alone(checks, "ORWRITE", (struct.pack(">BBQIBB", 0x8B, 0, 0, 1, 0, 0), b"\x27" * BLOCK), b"\x7f" * 4)
    pattern = struct.pack(">BBH", 1, 0, 4) + b"\xff\x00\xff\x00"
    alone(checks, "SANITIZE", (struct.pack(">BB5xHB", 0x48, 0x01, len(pattern), 0), pattern), pattern[4:])


# Third-party copies.

def third_party(session, action, header, ranges):
    """POPULATE TOKEN or WRITE USING TOKEN, its task; ranges are LBAs and counts of blocks."""
    body = b"".join(struct.pack(">QI4x", *each) for each in ranges)
    data = header[2:] + struct.pack(">H", len(body)) + body
    return session.submit(0, struct.pack(">BB4xIIBB", 0x83, action, LIST, len(data) + 2, 0, 0), struct.pack(">H", len(data)) + data)


def populate(session, ranges):
    """POPULATE TOKEN, its task."""
    return third_party(session, 0x10, bytes(14), ranges)


def use_token(session, token, ranges, immed=False):
    """WRITE USING TOKEN, its task."""
    return third_party(session, 0x11, struct.pack(">2xB13x", immed) + token + bytes(6), ranges)


def told_of_copy(session):
    """RECEIVE ROD TOKEN INFORMATION: the status of the copy, and the token if it made one."""
    data = bytes(session.execute(0, struct.pack(">BBIIIBB", 0x84, 7, LIST, 0, 1024, 0, 0), expected=1024).good().data_in)
    at = 32 + data[13]
    return data[5] & 0x7F, data[at + 6:at + 6 + 512]


def token_beside_a_write(checks):
    def copy(host, token):
        until(host, use_token(host, token, [(64, 8)])).good()
        return disk.stored(64, 4096)[:4]

    with Disk() as disk:
        host, other = disk.host("a"), disk.host("b")
        rule = disk.medium.rule("write", FILES[0], end=8 * BLOCK, hang=True)
        writing = other.submit(0, write10(0, 8), b"X" * 4096)
        disk.medium.wait(rule)
        populating = populate(host, [(0, 8)])
        let_it_answer(host)
        token, copies = None, []
        if populating.status is not None:
            token = told_of_copy(host)[1]
            copies.append(copy(host, token))
        disk.medium.release()
        until(other, writing).good()
        until(host, populating).good()
        copies.append(copy(host, token or told_of_copy(host)[1]))
        checks.check("a token that is made beside a write under way stands for what that wrote", set(copies) == {b"XXXX"}, copies)


# Fencing.

def reserve_out(session, action, key, other, aptpl=0):
    """PERSISTENT RESERVE OUT, its task; of the type Write Exclusive - Registrants Only."""
    data = struct.pack(">QQ4xB3x", key, other, aptpl)
    return session.submit(0, struct.pack(">BBB2xIB", 0x5F, action, 5 if action else 0, len(data), 0), data)


def registered(disk, aptpl=0):
    """The victim and the fencer, both registered; the victim has a reservation."""
    victim, fencer = disk.host("victim"), disk.host("fencer")
    until(victim, reserve_out(victim, 0, 0, 0xAA, aptpl)).good()
    until(fencer, reserve_out(fencer, 0, 0, 0xBB, aptpl)).good()
    until(victim, reserve_out(victim, 1, 0xAA, 0)).good()
    return victim, fencer


def fence_and_write(disk, fencer, places):
    """PREEMPT AND ABORT, and then a write to each of those blocks, while the medium hangs if it is answered before."""
    fencing = reserve_out(fencer, 5, 0xBB, 0xAA)
    let_it_answer(fencer, 2)
    anew = []
    if fencing.status is not None:
        anew = [fencer.submit(0, write10(lba, 8), b"F" * 4096) for lba in places]
        let_it_answer(fencer)
    disk.medium.release()
    until(fencer, fencing).good()
    for task in anew or [fencer.submit(0, write10(lba, 8), b"F" * 4096) for lba in places]:
        until(fencer, task).good()


def preempt_and_abort(checks):
    with Disk() as disk:
        victim, fencer = registered(disk)
        rule = disk.medium.rule("write", FILES[0], hang=True, times=1)
        victim.submit(0, write10(0, 8), b"V" * 4096)
        disk.medium.wait(rule)
        fence_and_write(disk, fencer, [0])
        read(fencer, 0, 8).good()
        found = disk.stored(0, 4)
        checks.check("after PREEMPT AND ABORT a hung write of the victim does not land over what the fencer writes", found == b"FFFF", found)


def preempt_and_copy(checks):
    in_background, terminated = (0x11, 0x12), 0x60
    with Disk(",thin") as disk:
        victim, fencer = registered(disk)
        rule = disk.medium.rule("punch", FILES[0], hang=True, times=1)
        until(victim, use_token(victim, ZEROES, [(0, 8), (1024, 8)], immed=True)).good()
        disk.medium.wait(rule)
        fence_and_write(disk, fencer, [0, 1024])
        victim.ready(0)
        deadline = time.monotonic() + 5
        while (told := told_of_copy(victim)[0]) in in_background and time.monotonic() < deadline:
            time.sleep(0.01)
        found = disk.stored(0, 4), disk.stored(1024, 4)
        checks.check("nor does a copy of the victim in the background go on", told == terminated and found == (b"FFFF",) * 2, (hex(told), found))


def aborted_preempt_and_abort(checks):
    disk = Disk()
    disk.options += ["--state", "medium/files/state"]
    with disk:
        victim, fencer = registered(disk, aptpl=1)
        victim.immediate = 0
        late = victim.submit(0, write10(0, 8), b"V" * 4096)
        asked = victim.receive()
        assert asked.opcode == R2T
        # It is aborted while it is saved.
        rule = disk.medium.rule("rename", hang=True)
        fencing = reserve_out(fencer, 5, 0xBB, 0xAA)
        disk.medium.wait(rule)
        answer = fencer.manage(ABORT_TASK, 0, fencing)
        disk.medium.release()
        # What is saved next is saved after it.
        until(fencer, reserve_out(fencer, 1, 0xBB, 0)).good()
        rule = disk.medium.rule("write", FILES[0])
        victim.handle(asked)
        # Answered behind the data.
        victim.manage(ABORT_TASK, 0)
        written = disk.medium.ask("wait", rule=rule, hits=1, seconds=0.3)
        checks.check("an aborted PREEMPT AND ABORT that takes effect aborts what the victim has begun",
                     answer == 0 and not written and late.status is None, (answer, written, late.status))


CHECKS = [hung_unit, reset_in_a_pause, hung_seek, hung_stat, hung_reload, hung_start, ghost_write, exclusive_commands, token_beside_a_write,
          preempt_and_abort, preempt_and_copy, aborted_preempt_and_abort]
