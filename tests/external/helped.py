"""The examples in `ringsan COMMAND --help`, which are those of the man pages, too: each is run, as a story on a ringsan that begins with nothing.
`tests/external/interface` calls `check`."""

import os
import re
import subprocess

from pages import SECONDS, program_in
from plane import Served
from target import free_port

# The examples, each behind what it needs; what they take for granted is in brackets.
STORY = [
    "account add db --secret-file /etc/ringsan/db.secret",
    ("account add backup --secret-file backup.secret",),
    "target add iqn.2026-11.com.example:db -s alias=database",
    "target set db alias=database accounts=db,backup",
    "lun add /dev/nvme0n1 --target db",
    "lun add disk.img -s size=1GiB -s thin",
    "lun set 0 iops=500 bandwidth=",
    "group add hosts -t db -s initiators=iqn.2026-11.com.example:* -s luns=0,1",
    ("lun add -n 5 -s kind=ram -s size=1MiB",),
    'group set hosts luns=0,"5 as 1" iops=',
    "portal add 192.0.2.1:3260 -s group=2",
    "log level ringsan::session=debug,info",
    "session ls",
    "ringsan completions bash >/etc/bash_completion.d/ringsan",
    "ringsan man /usr/local/share/man/man1",
]


def helps(served, words=()):
    """(words, help) of a command and those below it."""
    code, text, _ = served.run(*words, "--help", socketless=True)
    if code:
        raise AssertionError(f"{words} --help: {code}")
    yield words, text
    below = re.search(r"^Commands:\n(.*?)\n\n", text, re.M | re.S)
    for name in re.findall(r"^  (\w[\w-]*)", below[1], re.M) if below else ():
        if name != "help":
            yield from helps(served, (*words, name))


def placed(line, folder):
    """An example, with places that can be had here."""
    places = {"/etc/ringsan/db.secret": "db.secret", "/dev/nvme0n1": f"{folder}/nvme0n1", "192.0.2.1:3260": f"127.0.0.1:{free_port()}",
              "/etc/bash_completion.d/ringsan": "completions", "/usr/local/share/man/man1": "man1"}
    for place, here in places.items():
        line = line.replace(place, here)
    return line if line.startswith("ringsan ") else f"ringsan {line}"


def check(checks):
    """All of them, on a server of its own."""
    with Served("", top="target = []\n") as served:
        program_in(served.folder)
        for name in ("db.secret", "backup.secret"):
            (served.folder / name).write_text(f"a secret of {name}\n")
            (served.folder / name).chmod(0o600)
        (served.folder / "nvme0n1").write_bytes(bytes(1 << 20))
        told = list(helps(served))
        examples = {line for _, text in told for line in re.findall(r"`([^`\n]+ [^`\n]+)`", text)}
        story = {line for line in STORY if isinstance(line, str)}
        checks.check("each example in the help is a part of the story, and the other way round", len(told) >= 40 and examples == story,
                     f"of {len(told)}: {examples ^ story}")
        environment = os.environ | {"PATH": f"{served.folder}/bin:{os.environ['PATH']}", "RINGSAN_SOCKET": str(served.control)}

        def run(line):
            return subprocess.run(["bash", "-e", "-c", placed(line, served.folder)], cwd=served.folder, env=environment, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=SECONDS, check=False)

        for line in STORY:
            done = run(line if isinstance(line, str) else line[0])
            checks.check(f"help: {line if isinstance(line, str) else line[0]}", done.returncode == 0, done.stdout + done.stderr)
        pages(served, told, checks)
        checks.check("an example that cannot be run is found", run("lun set 77 iops=500").returncode == 2)


def pages(served, told, checks):
    """What was written by the last two of the story."""
    syntax = subprocess.run(["bash", "-n", "completions"], cwd=served.folder, capture_output=True, text=True, check=False)
    text = (served.folder / "completions").read_text()
    checks.check("bash takes the completions", syntax.returncode == 0 and "ringsan" in text, syntax.stderr)
    wanted = {"-".join(("ringsan", *words)) + ".1" for words, _ in told}
    written = {path.name for path in (served.folder / "man1").iterdir() if path.read_text().startswith((".ie", ".TH"))}
    checks.check("each command has a man page", written == wanted, str(written ^ wanted))
