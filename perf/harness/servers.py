"""The servers that are compared, each pinned to a core and stopped (SIGSTOP) while another one is measured."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

IQN = "iqn.2024-01.test.ringsan:perf"
START_SECONDS = 20


class ServerError(Exception):
    """A server did not do what it should; the message is for people."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_file(path, size):
    """A file of this size without holes, filled with random bytes; kept if it is there already."""
    if os.path.exists(path) and os.path.getsize(path) == size and os.stat(path).st_blocks * 512 >= size:
        return
    chunk = os.urandom(1 << 20)
    with open(path, "wb") as out:
        left = size
        while left > 0:
            out.write(chunk[:left])
            left -= min(left, len(chunk))
        out.flush()
        os.fsync(out.fileno())


class Server:
    """A process that listens on a port of the loopback device."""

    lun = 0
    floor = False

    def __init__(self, name, options):
        self.name, self.options = name, options
        self.process = None
        self.port = None
        self.folder = os.path.join(options.work, name)
        self.stopped = False

    @property
    def pid(self):
        return self.process.pid

    def command(self):
        raise NotImplementedError

    def start(self):
        os.makedirs(self.folder, exist_ok=True)
        self.port = free_port()
        self.log = os.path.join(self.folder, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
            )
        try:
            self.wait_until_ready()
        except ServerError:
            self.stop()
            raise

    def wait_until_ready(self):
        # "floor: ready ...", "ringsan: ready ...": a line of its own, for "already" is a word too.
        self.wait(lambda: re.search(rb"^\w+: ready\b", self.read_log(), re.MULTILINE))

    def read_log(self):
        with open(self.log, "rb") as log:
            return log.read()

    def wait(self, ready):
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if self.process.poll() is not None:
                raise ServerError(f"{self.name} ended at once:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} is not ready after {START_SECONDS} s:\n{self.tail()}")
            time.sleep(0.05)

    def tail(self):
        return "\n".join("    " + line for line in self.read_log().decode(errors="replace").splitlines()[-8:])

    def pause(self):
        if self.process and not self.stopped:
            os.kill(self.pid, signal.SIGSTOP)
            self.stopped = True

    def go_on(self):
        if self.process and self.stopped:
            os.kill(self.pid, signal.SIGCONT)
            self.stopped = False

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        if not self.process:
            return
        self.go_on()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


class Floor(Server):
    """The same bytes without a protocol."""

    floor = True

    def __init__(self, name, options, writes="direct"):
        super().__init__(name, options)
        self.writes = writes

    def command(self):
        core = self.options.server_core
        return [self.options.bin("floor"), "--core", str(core), "--listen", f"127.0.0.1:{self.port}",
                "--writes", self.writes]


class Ringsan(Server):
    """`spin`: microseconds, or None for the default. `cores`: as for --cores. `lun`: as for --lun. `program`: another ringsan."""

    def __init__(self, name, options, spin=None, cores=None, lun="kind=ram,size=512MiB", program=None):
        super().__init__(name, options)
        self.program = program or options.bin("ringsan")
        self.spin, self.cores, self.lun_option = spin, cores or str(options.server_core), lun

    def command(self):
        command = [self.program, "serve", "--listen", f"127.0.0.1:{self.port}", "--target", IQN,
                   "--lun", self.lun_option, "--cores", self.cores]
        if self.spin is not None:
            command += ["--spin-us", str(self.spin)]
        return command + self.options.ringsan_args


class Tgt(Server):
    """Debian's tgtd. It keeps LUN 0 for its controller, and its digests are on or off for all initiators."""

    lun = 1

    def __init__(self, name, options, path=None, size=512 << 20, kind="rdwr", digests=False):
        super().__init__(name, options)
        self.path, self.size, self.kind, self.digests = path, size, kind, digests
        # tgtd's control socket is numbered; a second one must not meet a system service (0).
        self.control = str(1000 + (os.getpid() * 7 + sum(name.encode())) % 30000)
        self.own_file = path is None

    def command(self):
        return ["taskset", "-c", str(self.options.server_core), "tgtd", "-f", "-C", self.control,
                "--iscsi", f"portal=127.0.0.1:{self.port}"]

    def admin(self, *arguments, check=True):
        command = ["tgtadm", "-C", self.control, "--lld", "iscsi", *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if check and done.returncode:
            raise ServerError(f"{self.name}: {' '.join(command)}: {done.stderr.strip()}")
        return done.returncode == 0

    def wait_until_ready(self):
        if not shutil.which("tgtd"):
            raise ServerError("tgtd is not installed")
        if self.own_file:
            # As near to a RAM disk as tgt comes.
            folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else self.folder
            self.path = os.path.join(folder, f"ringsan-perf-{os.getpid()}-{self.name}.img")
            make_file(self.path, self.size)
        self.wait(lambda: self.admin("--op", "show", "--mode", "sys", check=False))
        self.admin("--op", "new", "--mode", "target", "--tid", "1", "-T", IQN)
        self.admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "--bstype", self.kind,
                   "-b", self.path)
        for name in ("HeaderDigest", "DataDigest"):
            value = "CRC32C" if self.digests else "None"
            self.admin("--op", "update", "--mode", "target", "--tid", "1", "-n", name, "-v", value)
        self.admin("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")

    def stop(self):
        if self.process:
            # tgtd ignores SIGTERM as long as it has targets.
            self.go_on()
            self.process.kill()
            self.process.wait()
            self.process = None
        if self.own_file and self.path and os.path.exists(self.path):
            os.unlink(self.path)


class Fio(Server):
    """Not a server: fio on the file itself, on the server's core, is what a target cannot beat."""

    def start(self):
        if not shutil.which("fio"):
            raise ServerError("fio is not installed")
        os.makedirs(self.folder, exist_ok=True)

    def stop(self):
        pass


def install_missing(programs):
    """apt installs what is not there; without root it says what is missing."""
    packages = [package for program, package in programs.items() if not shutil.which(program)]
    if not packages:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"perf/run: please install {' '.join(packages)}; goes on without", file=sys.stderr)
        return
    print(f"perf/run: installing {' '.join(packages)}", file=sys.stderr)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if subprocess.run(install, env=environment, **quiet).returncode:
        subprocess.run(["apt-get", "update"], env=environment, **quiet)
        if subprocess.run(install, env=environment, **quiet).returncode:
            print("perf/run: apt-get install failed; goes on without", file=sys.stderr)
