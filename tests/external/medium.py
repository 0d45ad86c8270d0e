#!/usr/bin/env python3
"""A medium with faults: a file system in memory, on FUSE, that fails, waits, hangs and lies as it is told to while it is used.

  usage: tests/external/medium.py FOLDER        (a process of its own: FOLDER/files is the file system, FOLDER/control the socket)

`Medium` starts it and controls it; `Loop` is a block device on one of its files. What was written and what was made durable
are kept apart: a file's content by fsync, or by O_DSYNC for that write alone, a directory's entries by fsync of the
directory. A loss of power is `freeze`, from which moment on every request is an EIO, and later `cut`: of each file's writes,
holes and sizes since its last fsync each one is kept, lost or (writes) torn between sectors of 512 bytes, and of each
directory's changes an arbitrary number of the last ones is lost.

A rule applies to requests of one kind on files of one name that touch a range. The first that applies is what happens:
  op      read, write, dsync (writes with O_DSYNC), fsync, allocate, punch, size, seek, create, rename, remove, open,
          getattr, statfs
  name    of the file; any by default          start, end      bytes; all by default
  skip    so many first                         times           so many then; all by default
  error   its errno, by name                    delay           seconds
  hang    until `release`                       short           a read gives so many bytes at most
  lie     an fsync that is answered and does nothing
  lose    a failed fsync throws away what was written, for good, as the kernel does with pages that it could not write
"""

import errno
import json
import os
import pathlib
import random
import socket
import stat
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import fuse  # noqa: E402
from fuse import FileSystem  # noqa: E402
from target import die_with_parent  # noqa: E402

CHUNK = 64 * 1024
SECTOR = 512
SEEK_DATA = 3
KEEP_SIZE, PUNCH_HOLE = 1, 2
SECONDS = 10


class Image:
    """Sparse content of a file."""

    def __init__(self, size=0, chunks=None):
        self.size = size
        self.chunks = chunks or {}

    def copy(self):
        return Image(self.size, {number: bytearray(chunk) for number, chunk in self.chunks.items()})

    def read(self, offset, length):
        parts, end = [], min(offset + length, self.size)
        while offset < end:
            number, at = divmod(offset, CHUNK)
            now = min(CHUNK - at, end - offset)
            chunk = self.chunks.get(number)
            parts.append(bytes(now) if chunk is None else chunk[at:at + now])
            offset += now
        return b"".join(parts)

    def apply(self, change):
        """A ("write", offset, data), a ("punch", offset, length) or a ("size", size, 0)."""
        what, offset, value = change
        if what == "size":
            if offset < self.size:
                self.apply(("punch", offset, self.size - offset))
            self.size = offset
            return
        at, end = 0, len(value) if what == "write" else value
        while at < end:
            number, within = divmod(offset + at, CHUNK)
            now = min(CHUNK - within, end - at)
            if what == "write":
                chunk = self.chunks.get(number)
                if chunk is None:
                    chunk = self.chunks[number] = bytearray(CHUNK)
                chunk[within:within + now] = value[at:at + now]
            elif now == CHUNK:
                self.chunks.pop(number, None)
            elif number in self.chunks:
                self.chunks[number][within:within + now] = bytes(now)
            at += now
        if what == "write":
            self.size = max(self.size, offset + end)


class Node:
    """A file or a directory: as it is, as it is for certain, and the changes between them, in order."""

    def __init__(self, mode):
        self.mode = mode
        self.now, self.durable = ({}, {}) if stat.S_ISDIR(mode) else (Image(), Image())
        # Of files: (must be kept, change). Of directories: {name: node or None}.
        self.changes = []

    def change(self, change, durable=False):
        """Makes one of a file."""
        self.now.apply(change)
        if durable and not self.changes:
            self.durable.apply(change)
        else:
            self.changes.append((durable, change))

    def rename(self, entries):
        """Changes entries of a directory, all or none."""
        self.changes.append(entries)
        enter(self.now, entries)

    def sync(self):
        """Makes it durable as it is."""
        for change in self.changes:
            if isinstance(self.now, dict):
                enter(self.durable, change)
            else:
                self.durable.apply(change[1])
        self.changes = []

    def lose(self):
        """What was not flushed will never be, though it is still read."""
        self.changes = [change for change in self.changes if change[0]]

    def certain(self):
        """What a loss of power leaves of a file at least."""
        image = self.durable.copy()
        for certain, change in self.changes:
            if certain:
                image.apply(change)
        return image

    def cut(self, rng):
        """The power is back."""
        if isinstance(self.now, dict):
            for entries in self.changes[:rng.randint(0, len(self.changes))]:
                enter(self.durable, entries)
            self.now = dict(self.durable)
        else:
            for certain, change in self.changes:
                fate = 0 if certain else rng.random()
                if fate < 0.4:
                    self.durable.apply(change)
                elif fate < 0.6 and change[0] == "write":
                    for at in range(0, len(change[2]), SECTOR):
                        if rng.random() < 0.5:
                            self.durable.apply(("write", change[1] + at, change[2][at:at + SECTOR]))
            self.now = self.durable.copy()
        self.changes = []


def enter(entries, change):
    """Adds and removes names."""
    for name, node in change.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


class Rule:
    """See above."""

    def __init__(self, op, name="", start=0, end=1 << 62, skip=0, times=1 << 62, error=None, delay=0, hang=False, short=None,
                 lie=False, lose=False):
        self.op, self.name, self.start, self.end, self.skip, self.times = op, name, start, end, skip, times
        self.error = getattr(errno, error) if error else 0
        self.delay, self.hang, self.short, self.lie, self.lose = delay, hang, short, lie, lose
        self.hits = 0

    def applies(self, op, name, offset, length):
        """Whether this request is its, counting it."""
        if op != self.op or self.name not in ("", name) or offset >= self.end or offset + max(length, 1) <= self.start:
            return False
        if self.skip:
            self.skip -= 1
            return False
        return self.hits < self.times


NOTHING = Rule("")


class Store(FileSystem):
    """The file system. One lock for all; whoever waits waits without it."""

    def __init__(self):
        self.nodes = {fuse.ROOT: Node(0o040755)}
        self.named = {}  # node: its last name
        self.rules = {}
        self.counts = {}
        self.epoch = 0  # of `release`
        self.frozen = False
        self.moved = threading.Condition()

    def judge(self, op, node, offset=0, length=0, name=None):
        """What the rules have for a request, after it waited as they say."""
        with self.moved:
            name = name or self.named.get(node, "")
            self.counts[op] = self.counts.get(op, 0) + 1
            rule = next((rule for rule in self.rules.values() if rule.applies(op, name, offset, length)), NOTHING)
            rule.hits += 1
            self.moved.notify_all()
            if rule.hang:
                epoch = self.epoch
                self.moved.wait_for(lambda: self.epoch != epoch)
            if self.frozen:
                raise OSError(errno.EIO, "")
        if rule.delay:
            time.sleep(rule.delay)
        if rule.lose:
            with self.moved:
                self.nodes[node].lose()
        if rule.error:
            raise OSError(rule.error, "")
        return rule

    def lookup(self, node, name):
        with self.moved:
            try:
                return self.nodes[node].now[name]
            except KeyError:
                raise OSError(errno.ENOENT, "") from None

    def attributes(self, node):
        found = self.nodes[node]
        if stat.S_ISDIR(found.mode):
            return found.mode, 0, 0
        return found.mode, found.now.size, len(found.now.chunks) * CHUNK

    def asked(self, what, node):
        self.judge(what, node)

    def names(self, node):
        """The entries of a directory."""
        return [(name, child, self.nodes[child].mode) for name, child in self.nodes[node].now.items()]

    def create(self, node, name, mode):
        """A file, or a directory."""
        self.judge("create", node, name=os.fsdecode(name))
        with self.moved:
            number = len(self.nodes) + 1
            self.nodes[number] = Node(mode if stat.S_IFMT(mode) else 0o100000 | mode)
            self.named[number] = os.fsdecode(name)
            self.nodes[node].rename({name: number})
            return number

    def remove(self, node, name):
        """unlink and rmdir."""
        self.judge("remove", self.lookup(node, name))
        with self.moved:
            child = self.nodes[self.nodes[node].now[name]]
            if isinstance(child.now, dict) and child.now:
                raise OSError(errno.ENOTEMPTY, "")
            self.nodes[node].rename({name: None})

    def rename(self, node, old, to, new):
        """Within a directory."""
        if node != to:
            raise OSError(errno.EXDEV, "")
        child = self.lookup(node, old)
        self.judge("rename", child)
        with self.moved:
            self.named[child] = os.fsdecode(new)
            self.nodes[node].rename({old: None, new: child})

    def chmod(self, node, mode):
        """Permissions; they outlive everything."""
        self.nodes[node].mode = stat.S_IFMT(self.nodes[node].mode) | stat.S_IMODE(mode)

    def truncate(self, node, size):
        """Another size."""
        self.judge("size", node)
        with self.moved:
            self.nodes[node].change(("size", size, 0))

    def read(self, node, offset, length):
        rule = self.judge("read", node, offset, length)
        with self.moved:
            return self.nodes[node].now.read(offset, length if rule.short is None else min(length, rule.short))

    def write(self, node, offset, data, dsync):
        rule = self.judge("dsync" if dsync else "write", node, offset, len(data))
        with self.moved:
            self.nodes[node].change(("write", offset, data), dsync and not rule.lie)
        return len(data)

    def fsync(self, node):
        rule = self.judge("fsync", node)
        with self.moved:
            if not rule.lie:
                self.nodes[node].sync()

    def allocate(self, node, mode, offset, length):
        """Space, or a hole."""
        self.judge("punch" if mode & PUNCH_HOLE else "allocate", node, offset, length)
        if mode & ~(KEEP_SIZE | PUNCH_HOLE):
            raise OSError(errno.EOPNOTSUPP, "")
        with self.moved:
            found = self.nodes[node]
            if mode & PUNCH_HOLE:
                found.change(("punch", offset, max(0, min(length, found.now.size - offset))))
            elif not mode & KEEP_SIZE and offset + length > found.now.size:
                found.change(("size", offset + length, 0))

    def seek(self, node, offset, whence):
        self.judge("seek", node, offset, 0)
        with self.moved:
            image = self.nodes[node].now
            if offset >= image.size:
                raise OSError(errno.ENXIO, "")
            while offset < image.size and (offset // CHUNK in image.chunks) != (whence == SEEK_DATA):
                offset = (offset // CHUNK + 1) * CHUNK
            if offset >= image.size and whence == SEEK_DATA:
                raise OSError(errno.ENXIO, "")
            return min(offset, image.size)

    # What the control socket asks for

    def find(self, path):
        """A node by its path."""
        node = fuse.ROOT
        for name in path.split("/"):
            node = self.nodes[node].now[os.fsencode(name)]
        return self.nodes[node]

    def control(self, what, arguments):
        """One order; returns its answer."""
        if what == "wait":
            with self.moved:
                rule = self.rules[arguments["rule"]]
                return self.moved.wait_for(lambda: rule.hits >= arguments["hits"], arguments["seconds"])
        with self.moved:
            if what == "rule":
                number = len(self.rules)
                self.rules[number] = Rule(**arguments)
                return number
            if what == "release":
                self.epoch += 1
                self.moved.notify_all()
            if what in ("release", "clear"):
                # Numbers stay what they are.
                for rule in self.rules.values():
                    rule.times = 0
            if what == "freeze":
                self.frozen = True
            if what == "cut":
                self.frozen = False
                rng = random.Random(arguments["seed"])
                lost = sum(len(node.changes) for node in self.nodes.values())
                for node in self.nodes.values():
                    node.cut(rng)
                return lost
            if what == "counts":
                return self.counts
            if what == "durable":
                return self.find(arguments["path"]).certain().read(arguments["offset"], arguments["length"]).hex()
        return None


def serve(folder):
    """The process: until it is killed, or its control connections end."""
    store = Store()
    fuse.Mount(store, folder / "files")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "control"))
    listener.listen()
    print("ready", flush=True)

    def obey(peer):
        for line in peer.makefile("rb"):
            what, arguments = json.loads(line)
            peer.sendall(json.dumps(store.control(what, arguments)).encode() + b"\n")

    while True:
        threading.Thread(target=obey, args=(listener.accept()[0],), daemon=True).start()


class Medium:
    """Such a medium, mounted at `path`, in a process of its own: nobody hangs in a file system that he serves himself."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.path = self.folder / "files"
        self.path.mkdir(parents=True)
        self.process = subprocess.Popen([sys.executable, __file__, str(self.folder)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        if self.process.stdout.readline() != b"ready\n":
            raise OSError(errno.EPERM, "a FUSE file system could not be mounted (as root, with /dev/fuse)")
        self.socket = socket.socket(socket.AF_UNIX)
        # A socket's path is short: by the descriptor of its folder.
        there = os.open(self.folder, os.O_PATH)
        self.socket.connect(f"/proc/self/fd/{there}/control")
        os.close(there)
        self.answers = self.socket.makefile("rb")

    def ask(self, what, **arguments):
        """An order to the process."""
        self.socket.sendall(json.dumps([what, arguments]).encode() + b"\n")
        return json.loads(self.answers.readline())

    def rule(self, op, name="", **more):
        """Adds one; returns its number."""
        return self.ask("rule", op=op, name=name, **more)

    def wait(self, rule, hits=1, seconds=SECONDS):
        """Until it has applied so often; TimeoutError if it does not."""
        if not self.ask("wait", rule=rule, hits=hits, seconds=seconds):
            raise TimeoutError(f"the medium was not asked for what its rule {rule} is about")

    def clear(self):
        """No rules any more."""
        self.ask("clear")

    def release(self):
        """No rules any more, and what hangs goes on."""
        if self.process.poll() is None:
            self.ask("release")

    def freeze(self):
        """The power goes: nothing changes any more."""
        self.ask("freeze")

    def cut(self, seed):
        """It is back, and things are as they happened to be; returns how many changes were not durable."""
        return self.ask("cut", seed=seed)

    def durable(self, path, offset, length):
        """What a loss of power now would leave for certain."""
        return bytes.fromhex(self.ask("durable", path=path, offset=offset, length=length))

    def end(self):
        """Whatever still hangs goes on first, for processes that wait cannot end."""
        self.release()
        fuse.LIBC.umount2(os.fsencode(self.path), fuse.MNT_DETACH)
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Loop:
    """A block device on a file, with sectors of so many bytes; `direct`: without the page cache in between."""

    def __init__(self, path, sector=512, direct=True):
        command = ["losetup", "--find", "--show", "--sector-size", str(sector), f"--direct-io={'on' if direct else 'off'}", str(path)]
        self.path = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["losetup", "--detach", self.path], check=False)


if __name__ == "__main__":
    serve(pathlib.Path(sys.argv[1]).resolve())
