"""What a running ringsan says: events as they happen, what its log leaves out, and how that is written. Called by `control`."""

import contextlib
import http.client
import json
import signal
import subprocess
import threading
import time

from initiator import LoginFailed, Session, read10
from target import IQN

INITIATOR = "iqn.2026-11.io.ringsan:heard"
# What a name must not bring into a log: an escape sequence, another line, text from right to left.
HOSTILE = "iqn.2026-11.com.example:\x1b]0;x\x07\nERROR forged\u202e"
READERS = 16  # limits::EVENT_READERS
EVENTS = 1000  # limits::EVENTS
SOON = 10


class Reader(threading.Thread):
    """Reads events until its connection ends: (id, kind, data) each."""

    def __init__(self, connect, last=None, follow=True):
        super().__init__(daemon=True)
        self.connection = connect()
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        self.connection.request("GET", "/v1/events" if follow else "/v1/events?follow=false", headers=headers)
        self.answer = self.connection.getresponse()
        if self.answer.status != 200:
            status, body = self.answer.status, self.answer.read()
            self.connection.close()
            raise AssertionError(f"{status}: {body!r}")
        self.kind = self.answer.getheader("content-type")
        self.events = []
        self.new = threading.Condition()

    def run(self):
        fields = {}
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
            while line := self.answer.readline():
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field:
                    fields[field] = value
                    continue
                if "data" in fields:
                    with self.new:
                        self.events.append((int(fields.get("id", 0)), fields["event"], json.loads(fields["data"])))
                        self.new.notify_all()
                fields = {}

    def find(self, kind, matches=lambda data: True):
        """The first event of a kind that matches, when it comes."""
        def found():
            return next(((number, data) for number, its, data in self.events if its == kind and matches(data)), None)
        with self.new:
            if not self.new.wait_for(found, SOON):
                raise AssertionError(f"no event {kind}: {self.events[-5:]}")
            return found()

    def close(self):
        with contextlib.suppress(OSError, AttributeError):
            self.connection.sock.shutdown(2)
        self.connection.close()


def of(name):
    """Whether an event is about an initiator."""
    return lambda data: data["fields"].get("initiator") == name


def refused(served, name):
    """A login that is refused."""
    try:
        Session(("127.0.0.1", served.port), "iqn.2026-11.io.ringsan:nobody", initiator=name)
    except LoginFailed:
        return
    raise AssertionError("it was let in")


def happens(served, checks, connect):
    """A login, a LUN, a login that is refused: each is told when it happens; who comes again goes on where it was."""
    reader = Reader(connect)
    reader.start()
    checks.check("events are a stream of them", reader.kind == "text/event-stream", reader.kind)
    session = Session(("127.0.0.1", served.port), IQN, initiator=INITIATOR)
    number, data = reader.find("logged-in", of(INITIATOR))
    peer = "{}:{}".format(*session.socket.getsockname())
    checks.check("a login, by whom and from where", data["level"] == "info" and data["fields"]["peer"] == peer, str(data))
    tsih = data["fields"]["tsih"]
    began = time.monotonic()
    refused(served, INITIATOR)
    _, data = reader.find("login-refused")
    checks.check("a login that is refused, and why, at once", data["level"] == "warn" and "no such target" in data["fields"]["reason"] and time.monotonic() - began < 2, str(data))
    served.run("lun", "add", str(served.folder / "told.img"), "-n", "9", "-s", "size=1MiB", "-s", "create")
    _, data = reader.find("lun-added", lambda data: "LUN 9" in data["message"])
    checks.check("a LUN that comes", "LUN 9" in data["message"], str(data))
    served.run("lun", "resize", "9", "2MiB")
    reader.find("lun-resized", lambda data: "LUN 9" in data["message"])
    served.run("lun", "rm", "9", "--force")
    reader.find("lun-removed", lambda data: "LUN 9" in data["message"])
    served.run("lun", "rm", "77")
    _, data = reader.find("config-refused", lambda data: "LUN 77" in data["message"])
    checks.check("a change that is refused, and why", "is not in the file" in data["message"], str(data))
    session.logout()
    _, data = reader.find("logged-out", of(INITIATOR))
    checks.check("a logout, of which session", data["fields"]["tsih"] == tsih, str(data))
    numbers = [number for number, *_ in reader.events]
    checks.check("their numbers go up by one", numbers == list(range(numbers[0], numbers[-1] + 1)), str(numbers))
    reader.close()
    again = Reader(connect, last=number, follow=False)
    again.run()
    wanted = [event for event in reader.events if event[0] > number]
    checks.check("who comes again has what came since", again.events[:len(wanted)] == wanted and len(wanted) > 4, f"{again.events} {wanted}")
    code, out, _ = served.run("events", "-o", "json")
    lines = [json.loads(line) for line in out.splitlines()]
    said = {line["id"]: line["kind"] for line in lines}
    checks.check("the command says the same", code == 0 and all(said[number] == kind for number, kind, _ in reader.events), out)
    code, out, _ = served.run("events")
    line = next((line for line in out.splitlines() if "logged-in" in line and INITIATOR in line), "")
    checks.check("in a line each", code == 0 and " INFO " in line and peer in line, out)


def slow(served, checks, connect):
    """A command that takes longer than its LUN has for it is told, with whose it is; of another LUN it is not."""
    reader = Reader(connect)
    reader.start()
    served.run("lun", "add", str(served.folder / "slow.img"), "-n", "9", "-s", "size=1MiB", "-s", "create", "-s", "iops=1")
    try:
        with contextlib.closing(Session(("127.0.0.1", served.port), IQN, initiator=f"{INITIATOR}-slow")) as session:
            session.ready(9)
            # One command a second.
            took = [two_reads(session) for _ in range(1)]
            before = [event for event in reader.events if event[1] == "slow-command"]
            served.run("lun", "set", "9", "slow-log=200ms")
            time.sleep(1.2)
            two_reads(session)
            number, data = reader.find("slow-command")
            session.logout()
        its = data["fields"]
        wanted = {"kind": "read", "lun": 9, "lba": 3, "blocks": 2, "initiator": f"{INITIATOR}-slow"}
        good = {name: its.get(name) for name in wanted} == wanted and 200_000 < its["us"] < 5_000_000 and data["level"] == "warn"
        checks.check("a slow command is told, once that is wanted", good and not before, f"{data} {before} {took}")
    finally:
        served.run("lun", "rm", "9", "--force")
        reader.close()


def two_reads(session):
    """How long two of them take."""
    began = time.monotonic()
    for _ in range(2):
        session.execute(9, read10(3, 2), expected=1024).good()
    return time.monotonic() - began


def filters(served, checks):
    """What the log leaves out is changed while it runs, for the log alone."""
    before = served.get("/v1/log")["filter"]
    code, out, _ = served.run("log", "level", "info,ringsan::shard=debug")
    checks.check("the log leaves out less", code == 0 and out == "info,ringsan::shard=debug\n" and served.get("/v1/log")["filter"] == out.strip(), out)
    for wrong in ("loud", "", "ringsan::[=info", "info," * 400 + "info"):
        status, kind, body = served.ask("PUT", "/v1/log", json.dumps({"filter": wrong}), {"Content-Type": "application/json"})
        checks.check(f"a filter that is none: 400, {wrong[:16]!r}", (status, kind) == (400, "application/problem+json") and json.loads(body)["detail"], str(body))
    code, _, err = served.run("log", "level", "loud")
    checks.check("and an error of the command", code == 2 and "unknown log level 'loud'" in err, err)
    served.run("log", "level", "off")
    at = served.log.stat().st_size
    refusals = served.run("events")[1].count(" login-refused ")
    refused(served, INITIATOR)
    code, out, _ = served.run("log", "level", before)
    with contextlib.suppress(OSError):
        text = served.log.read_bytes()[at:].decode()
    checks.check("off is off, and that it changes is said", code == 0 and "login refused" not in text and "leaves out something else" in text, text)
    code, out, _ = served.run("events")
    checks.check("events are there nevertheless", out.count(" login-refused ") == refusals + 1, out[-500:])


def too_slow(served, checks, connect):
    """A reader that does not read is told how many it has lost; others do not wait. And there are only so many readers."""
    slow = connect()
    slow.request("GET", "/v1/events")
    answer = slow.getresponse()
    before = served.get("/v1/log")["filter"]
    texts = [",".join(["ringsan=info"] * 75 + [level]) for level in ("info", "warn")]
    with contextlib.closing(connect()) as changes:
        for number in range(2 * EVENTS):
            changes.request("PUT", "/v1/log", json.dumps({"filter": texts[number % 2]}), {"Content-Type": "application/json"})
            if (status := changes.getresponse()).read() and status.status != 200:
                raise AssertionError(status.status)
    served.run("log", "level", "info,ringsan::end=info")
    served.run("log", "level", before)
    kinds, lost = [], 0
    while not kinds or len(kinds) < 3 * EVENTS:
        line = answer.readline().decode()
        if line.startswith("event: "):
            kinds.append(line[7:].strip())
        if line.startswith("data: ") and kinds[-1] == "lost":
            lost += json.loads(line[6:])["lost"]
        if line.startswith("data: ") and '"filter":"info,ringsan::end=info"' in line:
            break
    slow.close()
    heard = kinds.count("log-filter")
    checks.check("a reader that is too slow is told what it has lost", lost > 0 and heard + lost >= 2 * EVENTS, f"{lost} lost, {heard} heard")
    whole = Reader(connect, follow=False)
    whole.run()
    checks.check("what is kept has a bound", len(whole.events) < EVENTS and "lost" not in [kind for _, kind, _ in whole.events], str(len(whole.events)))
    readers = []
    with contextlib.suppress(AssertionError):
        while len(readers) <= READERS:
            readers.append(Reader(connect))
    try:
        checks.check(f"{READERS} may read at a time", len(readers) == READERS, str(len(readers)))
        status, kind, _ = served.ask("GET", "/v1/events")
        checks.check("one more is refused", (status, kind) == (503, "application/problem+json"), str((status, kind)))
    finally:
        for one in readers:
            one.close()
    deadline = time.monotonic() + SOON
    while (status := served.ask("GET", "/v1/events?follow=false")[0]) != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    checks.check("until others have gone", status == 200, str(status))


def written(served, checks, command):
    """A server whose log is JSON, and names that are none; a reader outlives it."""
    follower = subprocess.Popen([*command, "events", "-f", "-o", "json", "--socket", str(served.control)], stdout=subprocess.PIPE, text=True)
    try:
        for name in (HOSTILE, INITIATOR):
            refused(served, name)
        with contextlib.closing(Session(("127.0.0.1", served.port), IQN, initiator=INITIATOR)) as session:
            session.logout()
        told = []

        def read_until(kind):
            while line := follower.stdout.readline():
                event = json.loads(line)
                told.append((event["kind"], event["id"]))
                if event["kind"] == kind:
                    return

        read_until("logged-out")
        served.kill()
        served.start()
        refused(served, INITIATOR)
        read_until("login-refused")
        numbers = [number for _, number in told]
        good = told[-1][0] == "login-refused" and "logged-out" in [kind for kind, _ in told] and numbers == sorted(set(numbers))
        checks.check("events go on after a restart, and so do their numbers", good, str(told))
    finally:
        follower.send_signal(signal.SIGTERM)
        follower.wait(SOON)
        follower.stdout.close()
    text = served.log.read_bytes().decode()
    lines = [json.loads(line) for line in text.splitlines()]
    told = [line for line in lines if line.get("event") == "login-refused"]
    good = all({"ts", "level", "target", "message", "fields"} <= set(line) for line in lines)
    checks.check("each line of a log in JSON is an object", good and len(told) >= 3 and any(line["message"] == "logged in" for line in lines), text)
    unseen = [c for c in text.replace("\n", "") if not c.isprintable()]
    checks.check("without a control character of a peer's", not unseen and "\\u202e" not in text.lower().replace("\\\\u", ""), str(unseen))
