"""What requests on the interface cost those who read and write. `tests/external/interface --load` calls `measure`; it prints figures, and
fails only if a request or a command does.

Rounds alternate: nobody asks; this server is asked; another one, which has no sessions, is asked as often. Clients and servers share the
processors of this machine, so what the second costs beyond the third is what the interface costs within a server.
"""

import contextlib
import multiprocessing
import statistics
import time

from initiator import Session, read10, write10
from plane import INITIATOR, Http
from target import IQN, die_with_parent

A_SECOND, CLIENTS = 1000, 16
PATHS = ("/v1/status", "/metrics", "/v1/sessions")
ROUND_S, SETTLE_S = 5, 0.5
DEPTH, BLOCKS, BLOCK = 8, 8, 512  # 4 KiB each
NOBODY, THIS, ANOTHER = range(3)
FORK = multiprocessing.get_context("fork")


class Shared:
    """What the processes tell each other: who is to be asked, when it is over, and what was done."""

    def __init__(self):
        self.asked, self.over = FORK.Value("i", NOBODY), FORK.Event()
        self.commands, self.requests = FORK.Value("q", 0), FORK.Array("q", CLIENTS)

    def counts(self):
        return time.monotonic(), self.commands.value, sum(self.requests)


def read_and_write(address, shared):
    """A process: writes, reads back and compares, `DEPTH` commands at a time."""
    die_with_parent()
    with contextlib.closing(Session(address, IQN, initiator=f"{INITIATOR}-beside")) as session:
        session.ready(0)
        turn = 0
        while not shared.over.is_set():
            blocks = [(turn * DEPTH + slot).to_bytes(8, "little") * (BLOCKS * BLOCK // 8) for slot in range(DEPTH)]
            for slot, block in enumerate(blocks):
                session.submit(0, write10(slot * BLOCKS, BLOCKS), block)
            for _ in blocks:
                session.reap().good()
            reads = [session.submit(0, read10(slot * BLOCKS, BLOCKS), expected=BLOCKS * BLOCK) for slot in range(DEPTH)]
            for _ in blocks:
                session.reap().good()
            if [task.data_in for task in reads] != blocks:
                raise AssertionError("other blocks were read than were written")
            shared.commands.value += 2 * DEPTH
            turn += 1
        session.logout()


def ask(sockets, index, shared):
    """A process: asks whoever is to be asked, at its part of the rate. A connection is for a round."""
    die_with_parent()
    connection, whom = None, NOBODY
    while not shared.over.is_set():
        if shared.asked.value != whom:
            whom = shared.asked.value
            connection = Http(sockets[whom]) if whom != NOBODY else None
            due = time.monotonic() + index / A_SECOND
        if connection is None:
            time.sleep(0.01)
            continue
        time.sleep(max(0.0, due - time.monotonic()))
        # Who is late is not to make up for it at once.
        due = max(due + CLIENTS / A_SECOND, time.monotonic() - ROUND_S)
        connection.request("GET", PATHS[shared.requests[index] % len(PATHS)])
        answer = connection.getresponse()
        if answer.status != 200 or not answer.read():
            raise AssertionError(f"{answer.status} {answer.reason}")
        shared.requests[index] += 1


def round_of(whom, shared):
    """(commands a second, requests a second)"""
    shared.asked.value = whom
    time.sleep(SETTLE_S)
    began, commands, requests = shared.counts()
    time.sleep(ROUND_S)
    ended, commands_then, requests_then = shared.counts()
    return (commands_then - commands) / (ended - began), (requests_then - requests) / (ended - began)


def said(what, ratios):
    """Median and spread."""
    print(f"{what}: median {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}, {len(ratios)} rounds", flush=True)


def measure(served, another, checks, rounds):
    """`rounds` of each kind."""
    shared = Shared()
    sockets = {THIS: served.control, ANOTHER: another.control}
    processes = [FORK.Process(target=read_and_write, args=(("127.0.0.1", served.port), shared), daemon=True)]
    processes += [FORK.Process(target=ask, args=(sockets, index, shared), daemon=True) for index in range(CLIENTS)]
    for process in processes:
        process.start()
    found = []
    for number in range(rounds):
        order = (NOBODY, THIS, ANOTHER) if number % 2 == 0 else (ANOTHER, THIS, NOBODY)
        told = {whom: round_of(whom, shared) for whom in order}
        found.append(told)
        print(f"commands/s: {told[NOBODY][0]:.0f} alone, {told[THIS][0]:.0f} with {told[THIS][1]:.0f} requests/s here, "
              f"{told[ANOTHER][0]:.0f} with {told[ANOTHER][1]:.0f} elsewhere", flush=True)
    shared.over.set()
    for process in processes:
        process.join(10)
    said("commands/s, asked here to alone", [told[THIS][0] / told[NOBODY][0] for told in found])
    said("commands/s, asked elsewhere to alone", [told[ANOTHER][0] / told[NOBODY][0] for told in found])
    said("commands/s, asked here to asked elsewhere", [told[THIS][0] / told[ANOTHER][0] for told in found])
    said("requests/s here", [told[THIS][1] for told in found])
    codes = [process.exitcode for process in processes]
    checks.check("no command and no request has failed", codes == [0] * len(processes) and min(shared.requests) > 0, str(codes))
