"""What the pages have for copying: each command of a block is run as it stands, but for places that can be had here. `tests/external/interface`
calls `check`; the ringsan is one that serves over TCP, too."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from initiator import Session
from over_tcp import FULL
from plane import INITIATOR
from target import IQN, ROOT, free_port

PAGES = ("README.md", "docs/control.md", "docs/architecture.md", "config/examples/cinder/README.md")
PROGRAM = re.compile(r"(ringsan|curl|cargo|tests/|umask|export)\b")
# What is not run, and why.
NOT_RUN = {
    "cargo run --release -- serve": "builds; the first command of README.md is the embedded default, which is run below",
    "tests/run": "is what runs this",
    "ringsan trace --lun 3 -w - | tshark -r - -d tcp.port==3260,iscsi": "tshark: the stage `capture` reads such a file",
}
# Blocks that are no commands, by how they begin, and what they are.
NO_COMMANDS = {
    "[[account]]": "a part of a configuration: `schema.py`",
    "[control]": "a part of a configuration: `over_tcp.py` serves such a one",
    "04:12:09.123456 7:0 > SCSI Command": "lines of a trace, to be read: the stage `control` reads real ones",
    "target = []": "a configuration: `schema.py`",
    "target_helper = tgtadm": "a part of cinder.conf: tests/external/cinder",
}
# What goes on until it is ended.
GOES_ON = ("ringsan serve", "ringsan trace --target", "ringsan trace --session", "curl -N", "ringsan events -f")
SECONDS = 20


def blocks(page):
    """The indented blocks of a page, as lists of lines; those within a fence are drawings."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(), flags=re.M | re.S)
    text = re.sub(r"\\\n\s+", "", text)
    return [[line.strip() for line in block.splitlines() if line.strip()] for block in re.findall(r"(?<=\n\n)(?: {4}.*\n|\n(?= {4}))+", text)]


def commands(page):
    """The commands in its blocks, without remarks."""
    return [re.sub(r"\s+# .*", "", line) for block in blocks(page) if PROGRAM.match(block[0]) for line in block]


def unknown():
    """(what is no command and not said to be something else, what is said to be there and is not)"""
    found = [block for page in PAGES for block in blocks(page)]
    others = [block[0] for block in found if not PROGRAM.match(block[0]) and not block[0].startswith(tuple(NO_COMMANDS))]
    others += [line for block in found if PROGRAM.match(block[0]) for line in block if not PROGRAM.match(line)]
    return others, [begin for begin in NO_COMMANDS if not any(block[0].startswith(begin) for block in found)]


def program_in(folder):
    """Puts a `ringsan` into its folder `bin`."""
    command = shlex.split(os.environ.get("RINGSAN", "")) or [str(ROOT / "target" / "release" / "ringsan")]
    (folder / "bin").mkdir()
    (folder / "bin" / "ringsan").write_text(f"#!/bin/sh\nexec {shlex.join(command)} \"$@\"\n")
    (folder / "bin" / "ringsan").chmod(0o755)


class Scratch:
    """A folder with what the commands name, and a `ringsan` in its PATH."""

    def __init__(self, folder, served, tsih):
        self.folder = Path(folder)
        program_in(self.folder)
        (self.folder / "config").symlink_to(ROOT / "config")
        (self.folder / "nvme0n1").write_bytes(bytes(1 << 20))
        (self.folder / "control.crt").write_text(served.certificate.read_text())
        (self.folder / "ops.token").write_text(f"ops full {FULL}\n")
        (self.folder / "ops.token").chmod(0o600)
        self.environment = os.environ | {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "RINGSAN_SOCKET": str(served.control)}
        self.places = {"/run/ringsan/control.sock": str(served.control), "192.0.2.10:3261": f"127.0.0.1:{served.https}",
                       "192.0.2.10:3260": f"127.0.0.1:{free_port()}", "/dev/nvme0n1": "nvme0n1", "--session 7": f"--session {tsih}",
                       "--target disk1": "--target test"}
        self.exports = ""

    def placed(self, line):
        for place, here in self.places.items():
            line = line.replace(place, here)
        if line.startswith("ringsan serve"):
            # Whoever reads the page has the port that everybody has, and nothing in this folder.
            line += ("" if "--listen" in line or "--config" in line else f" --listen 127.0.0.1:{free_port()}") + " --control-socket off"
            line = line.replace("config/ringsan.toml", self.of_own("config/ringsan.toml"))
        return line

    def of_own(self, file):
        """The same file with a port that is free, here."""
        text = (ROOT / file).read_text().replace("127.0.0.1:3260", f"127.0.0.1:{free_port()}").replace("../ringsan-data", "ringsan-data")
        (self.folder / "own.toml").write_text(text)
        return "own.toml"

    def run(self, line):
        """(whether it did what it is there for, what it said)"""
        if line.startswith("export "):
            self.exports += f"{self.placed(line)}\nunset RINGSAN_SOCKET\n"
            return True, ""
        goes_on = line.startswith(GOES_ON)
        process = subprocess.Popen(["bash", "-e", "-c", self.exports + ("exec " if goes_on else "") + self.placed(line)], cwd=self.folder, env=self.environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        try:
            if goes_on:
                time.sleep(2)
                alive = process.poll() is None
                os.killpg(process.pid, signal.SIGINT)
                said, _ = process.communicate(timeout=SECONDS)
                ready = "ready" in said if line.startswith("ringsan serve") else True
                return alive and ready, said
            said, _ = process.communicate(timeout=SECONDS)
            return process.returncode == 0, said
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return False, "it goes on"


def check(served, checks):
    """All of them, in order."""
    found = [(page, line) for page in PAGES for line in commands(page)]
    gone = set(NOT_RUN) - {line for _, line in found}
    checks.check("what is not run is in the pages", not gone and len(found) >= 15, f"{gone} {len(found)}")
    others, missing = unknown()
    checks.check("each block is one of commands, or said to be something else", not others and not missing, f"{others} {missing}")
    session = Session(("127.0.0.1", served.port), IQN, initiator=INITIATOR)
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(session):
        scratch = Scratch(folder, served, served.get("/v1/sessions")["sessions"][0]["tsih"])
        for page, line in found:
            if line not in NOT_RUN:
                good, said = scratch.run(line)
                checks.check(f"{page}: {line}", good, said[-500:])
        checks.check("what fails is found", not scratch.run("ringsan status --socket none")[0])
