"""The kernel's side of FUSE, spoken on /dev/fuse without a library: `serve` mounts a file system and answers its requests.

The file system is an object with the methods of `FileSystem`, by node number; it may take as long as it likes, for each
request that waits has a thread of its own. OSError is the answer of a request that fails. Files are opened for direct I/O:
each read and write of a process is one request here (of at most MAX_WRITE bytes), and the kernel keeps nothing.

It takes root, or CAP_SYS_ADMIN. `private_mounts` gives this process and its children a mount namespace of their own, so
that whatever they mount goes with them.
"""

import ctypes
import errno
import os
import struct
import threading

CLONE_NEWNS, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 0x4000, 1 << 18, 2
ROOT = 1
MAX_WRITE = 1 << 20
LIBC = ctypes.CDLL(None, use_errno=True)

(LOOKUP, FORGET, GETATTR, SETATTR, MKDIR, UNLINK, RMDIR, RENAME, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT, OPENDIR,
 READDIR, RELEASEDIR, FSYNCDIR, CREATE, INTERRUPT, DESTROY, BATCH_FORGET, FALLOCATE, RENAME2, LSEEK) = (
    1, 2, 3, 4, 9, 10, 11, 12, 14, 15, 16, 17, 18, 20, 25, 26, 27, 28, 29, 30, 35, 36, 38, 42, 43, 45, 46)
# INIT: ASYNC_READ, BIG_WRITES, ASYNC_DIO, PARALLEL_DIROPS, MAX_PAGES. With ASYNC_DIO the kernel makes a short write an EIO; without
# it, io_uring goes on with a short one at the offset where it began.
WANTED = 1 | 1 << 5 | 1 << 15 | 1 << 18 | 1 << 22
# OPEN: FOPEN_DIRECT_IO, FOPEN_PARALLEL_DIRECT_WRITES.
DIRECT = 1 | 1 << 6
SET_MODE, SET_SIZE = 1, 8


def system_call(name, *arguments):
    """Calls a function of the C library; OSError if it fails."""
    if getattr(LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def private_mounts():
    """What is mounted from now on is seen by this process and its children only, and ends with them."""
    system_call("unshare", CLONE_NEWNS)
    system_call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)


class FileSystem:
    """What there is to answer. Nodes are numbers, the root is 1; names are bytes."""

    def lookup(self, node, name):
        """The node of that name in a directory."""
        raise OSError(errno.ENOENT, "")

    def attributes(self, node):
        """(mode with the file type, size, bytes in use)"""
        raise NotImplementedError

    def asked(self, what, node):
        """Comes back when a request is to be answered that needs nothing else: "getattr", "statfs" or "open"."""

    def read(self, node, offset, length):
        """The bytes there; fewer at the end."""
        raise NotImplementedError

    def write(self, node, offset, data, dsync):
        """Returns how many bytes it took. `dsync`: the write has O_DSYNC."""
        raise NotImplementedError

    def fsync(self, node):
        """fsync and fdatasync."""

    def seek(self, node, offset, whence):
        """SEEK_DATA (3) and SEEK_HOLE (4)."""
        raise OSError(errno.ENOSYS, "")


class Mount:
    """A mounted file system, served by threads of this process."""

    def __init__(self, files, place):
        self.files, self.place = files, place
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        system_call("mount", b"ringsan-test", os.fsencode(place), b"fuse", 0, options)
        self.lock = threading.Lock()
        # Threads that wait for a request: there is always one more than are busy.
        self.idle = 0
        self.more()

    def more(self):
        """One more thread that waits."""
        self.idle += 1
        threading.Thread(target=self._serve, daemon=True).start()

    def unmount(self):
        """Requests under way get their answers first, or are left to the end of this process."""
        LIBC.umount2(os.fsencode(self.place), MNT_DETACH)

    def _serve(self):
        while True:
            try:
                request = os.read(self.device, MAX_WRITE + 8192)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return
            with self.lock:
                self.idle -= 1
                if self.idle == 0:
                    self.more()
            self._answer(request)
            with self.lock:
                if self.idle >= 4:
                    return
                self.idle += 1

    def _answer(self, request):
        length, opcode, unique, node = struct.unpack_from("<IIQQ", request)
        if opcode in (FORGET, BATCH_FORGET, INTERRUPT, DESTROY):
            return
        error, data = 0, b""
        try:
            data = self._request(opcode, node, memoryview(request)[40:length])
        except OSError as failure:
            error = failure.errno or errno.EIO
        except Exception:  # pylint: disable=broad-except
            error = errno.EIO
        try:
            os.write(self.device, struct.pack("<IiQ", 16 + len(data), -error, unique) + data)
        except OSError:
            pass  # It was interrupted, or the file system is gone.

    def _attributes(self, node):
        mode, size, used = self.files.attributes(node)
        return struct.pack("<6Q10I", node, size, used // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def _entry(self, node):
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + self._attributes(node)

    def _request(self, opcode, node, body):
        files = self.files
        if opcode == READ:
            offset, length = struct.unpack_from("<QI", body, 8)
            return files.read(node, offset, length)
        if opcode == WRITE:
            offset, length = struct.unpack_from("<QI", body, 8)
            flags, = struct.unpack_from("<I", body, 32)
            return struct.pack("<II", files.write(node, offset, bytes(body[40:40 + length]), bool(flags & os.O_DSYNC)), 0)
        if opcode == INIT:
            _, _, ahead, flags = struct.unpack_from("<IIII", body)
            return struct.pack("<IIIIHHIIHHI7I", 7, 31, ahead, flags & WANTED, 64, 48, MAX_WRITE, 1, MAX_WRITE // 4096, 0, 0, *[0] * 7)
        if opcode in (OPEN, OPENDIR):
            files.asked("open", node)
            return struct.pack("<QII", 0, DIRECT if opcode == OPEN else 0, 0)
        if opcode in (FLUSH, RELEASE, RELEASEDIR):
            return b""
        if opcode == FSYNC:
            files.fsync(node)
            return b""
        if opcode == FALLOCATE:
            offset, length, mode = struct.unpack_from("<QQI", body, 8)
            files.allocate(node, mode, offset, length)
            return b""
        if opcode == LSEEK:
            offset, whence = struct.unpack_from("<QI", body, 8)
            return struct.pack("<Q", files.seek(node, offset, whence))
        if opcode == STATFS:
            files.asked("statfs", node)
            return struct.pack("<QQQQQIIII6I", 1 << 20, 1 << 19, 1 << 19, 1 << 10, 1 << 9, 4096, 255, 4096, 0, *[0] * 6)
        return self._of_names(opcode, node, body)

    def _of_names(self, opcode, node, body):
        files = self.files
        if opcode == LOOKUP:
            return self._entry(files.lookup(node, bytes(body).split(b"\0")[0]))
        if opcode == GETATTR:
            files.asked("getattr", node)
            return struct.pack("<QII", 0, 0, 0) + self._attributes(node)
        if opcode == SETATTR:
            valid, = struct.unpack_from("<I", body)
            if valid & SET_SIZE:
                files.truncate(node, struct.unpack_from("<Q", body, 16)[0])
            if valid & SET_MODE:
                files.chmod(node, struct.unpack_from("<I", body, 68)[0])
            return struct.pack("<QII", 0, 0, 0) + self._attributes(node)
        if opcode == CREATE:
            mode, = struct.unpack_from("<I", body, 4)
            return self._entry(files.create(node, bytes(body[16:]).split(b"\0")[0], mode)) + struct.pack("<QII", 0, DIRECT, 0)
        if opcode == MKDIR:
            mode, = struct.unpack_from("<I", body)
            return self._entry(files.create(node, bytes(body[8:]).split(b"\0")[0], 0o040000 | mode))
        if opcode in (UNLINK, RMDIR):
            files.remove(node, bytes(body).split(b"\0")[0])
            return b""
        if opcode in (RENAME, RENAME2):
            to, = struct.unpack_from("<Q", body)
            old, new = bytes(body[8 if opcode == RENAME else 16:]).split(b"\0")[:2]
            files.rename(node, old, to, new)
            return b""
        if opcode == FSYNCDIR:
            files.fsync(node)
            return b""
        if opcode == READDIR:
            offset, length = struct.unpack_from("<QI", body, 8)
            out = b""
            for number, (name, child, mode) in enumerate(files.names(node)):
                entry = struct.pack("<QQII", child, number + 1, len(name), mode >> 12) + name + bytes(-len(name) % 8)
                if number >= offset and len(out) + len(entry) <= length:
                    out += entry
            return out
        raise OSError(errno.ENOSYS, "")
