#!/usr/bin/env python3
"""A logical unit as a block device of this machine, without an initiator of the kernel's: a FUSE file whose reads, writes, holes
and fsyncs are READ, WRITE, UNMAP and SYNCHRONIZE CACHE of a few sessions, and a loop device on it.

  usage: tests/external/attach.py FOLDER PORT LUN      (a process of its own: FOLDER/lun is the file)

Whatever goes wrong is an EIO, and stays one: there is no recovery.
"""

import errno
import os
import pathlib
import queue
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import fuse  # noqa: E402
from initiator import Session, read10, synchronize_cache10, write10  # noqa: E402
from medium import Loop  # noqa: E402
from target import IQN, die_with_parent  # noqa: E402

SESSIONS = 4
DISK = 2
PUNCH_HOLE = 2


class Unit(fuse.FileSystem):
    """One file, "lun"."""

    def __init__(self, port, lun):
        self.lun = lun
        self.free = queue.Queue()
        for _ in range(SESSIONS):
            session = Session(("127.0.0.1", port), IQN)
            session.ready(lun)
            self.free.put(session)
        self.blocks, self.block = session.capacity(lun)

    def command(self, cdb, data_out=b"", expected=0):
        """Its Data-In, if it is GOOD."""
        session = self.free.get()
        try:
            return bytes(session.execute(self.lun, cdb, data_out, expected).good().data_in)
        except Exception as error:
            raise OSError(errno.EIO, str(error)) from error
        finally:
            self.free.put(session)

    def lookup(self, node, name):
        if name != b"lun":
            raise OSError(errno.ENOENT, "")
        return DISK

    def attributes(self, node):
        return (0o100600, self.blocks * self.block, 0) if node == DISK else (0o040755, 0, 0)

    def read(self, node, offset, length):
        length = min(length, self.blocks * self.block - offset)
        return self.command(read10(offset // self.block, length // self.block), expected=length) if length > 0 else b""

    def write(self, node, offset, data, dsync):
        self.command(write10(offset // self.block, len(data) // self.block, fua=dsync), data)
        return len(data)

    def fsync(self, node):
        self.command(synchronize_cache10())

    def allocate(self, node, mode, offset, length):
        """A hole."""
        if not mode & PUNCH_HOLE or (offset | length) % self.block:
            raise OSError(errno.EOPNOTSUPP, "")
        ranges = struct.pack(">HHIQII", 22, 16, 0, offset // self.block, length // self.block, 0)
        self.command(struct.pack(">B6xHx", 0x42, len(ranges)), ranges)


class Attached:
    """LUN `lun` of the ringsan on `port`, as the block device `path`."""

    def __init__(self, folder, port, lun):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.process = subprocess.Popen([sys.executable, __file__, str(folder), str(port), str(lun)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        try:
            if self.process.stdout.readline() != b"ready\n":
                raise OSError(errno.EIO, f"LUN {lun} could not be attached")
            self.loop = Loop(folder / "lun")
        except BaseException:
            self.end()
            raise
        self.path = self.loop.path

    def end(self):
        """Without a flush that nobody asked for."""
        fuse.LIBC.umount2(os.fsencode(self.folder), fuse.MNT_DETACH)
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.loop.__exit__()
        self.end()


if __name__ == "__main__":
    fuse.Mount(Unit(int(sys.argv[2]), int(sys.argv[3])), sys.argv[1])
    print("ready", flush=True)
    sys.stdin.read()
