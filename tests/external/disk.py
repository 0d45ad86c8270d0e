"""A ringsan whose logical units are on a medium with faults (medium.py), and what checks of such do again and again."""

import os
import pathlib
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from initiator import Session, read10, synchronize_cache10, write10  # noqa: E402
from medium import Medium  # noqa: E402
from target import IQN, Target  # noqa: E402

MIB = 1 << 20
SIZE = 16 * MIB
BLOCK = 512
FILES = ("lun0.img", "lun1.img")
# What a unit or a core that has nothing to do with what hangs takes at most; and task management, as README has it.
PROMPT_SECONDS = 1.0
MEDIUM_ERROR, HARDWARE_ERROR, DATA_PROTECT = 3, 4, 7
UNRECOVERED_READ = (3, 0x11)


class Disk(Target):
    """A ringsan with two logical units on one medium: `more` are further options of the first."""

    def __init__(self, more="", cores="0", content=None):
        super().__init__([f"path=medium/files/{FILES[0]}{more}", f"path=medium/files/{FILES[1]}"], ["--cores", cores])
        self.medium = Medium(self.folder / "medium")
        for name in FILES:
            with open(self.medium.path / name, "wb") as file:
                file.truncate(SIZE)
                if content:
                    file.write(content * (SIZE // len(content)))
                os.fsync(file.fileno())
        directory = os.open(self.medium.path, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        os.sync()

    def host(self, name, luns=(0, 1)):
        """A session of that host, with its units ready."""
        session = Session(("127.0.0.1", self.port), IQN, initiator=f"iqn.2026-11.io.ringsan:{name}")
        for lun in luns:
            session.ready(lun)
        return session

    def stored(self, lba, length=BLOCK):
        """What is in the first file there, flushed or not."""
        with open(self.medium.path / FILES[0], "rb") as file:
            file.seek(lba * BLOCK)
            return file.read(length)

    def log_text(self):
        return self.log.read_text(errors="replace")

    def kill(self):
        self.medium.release()
        super().kill()

    def __exit__(self, *arguments):
        self.kill()
        self.medium.end()
        super().__exit__(*arguments)


def write(session, lba, data, lun=0, fua=False):
    """WRITE(10), its task."""
    return session.execute(lun, write10(lba, len(data) // BLOCK, fua), data)


def read(session, lba, blocks, lun=0):
    """READ(10), its task."""
    return session.execute(lun, read10(lba, blocks), expected=blocks * BLOCK)


def flush(session, immed=False):
    """SYNCHRONIZE CACHE(10), its sense."""
    return session.execute(0, synchronize_cache10(immed=immed)).sense_code()


def failed(sense):
    """Whether that is what a lost write is told by."""
    return sense is not None and sense[0] in (MEDIUM_ERROR, HARDWARE_ERROR)


def until(session, task):
    """Its end."""
    while task.status is None:
        session.reap()
    return task


def let_it_answer(session, seconds=0.5):
    """Some time for what must not be answered yet, but would be if it did not wait; no event tells of it."""
    session.socket.settimeout(seconds)
    try:
        session.reap()
    except TimeoutError:
        pass
    session.socket.settimeout(10)


def prompt(what):
    """How long that takes."""
    began = time.monotonic()
    what()
    return time.monotonic() - began
