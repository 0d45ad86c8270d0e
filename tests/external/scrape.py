"""Prometheus, as it scrapes a ringsan that serves: over TLS with a token, and what it has then. `tests/external/interface` calls `check`."""

import contextlib
import json
import re
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

import over_tcp
from initiator import Session, read10, synchronize_cache10, write10
from plane import BLOCK, INITIATOR, Load, configuration, lun
from target import IQN, ROOT, die_with_parent, free_port
from tools import of_prometheus

READS, WRITES, BLOCKS = 137, 61, 3
RULES = ROOT / "config/prometheus/ringsan.rules.yml"
DASHBOARD = ROOT / "config/grafana/ringsan.json"
SOON = 20
# Panels that have nothing to show where nothing is wrong.
MAY_BE_EMPTY = {"Errors by logical unit"}
SUFFIX = re.compile(r"_(bucket|sum|count)$")


class Prometheus:
    """A Prometheus that scrapes `served` each second, on a port of its own."""

    def __init__(self, served, folder):
        self.port, self.log = free_port(), Path(folder) / "log"
        text = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(RULES)],
                "scrape_configs": [{"job_name": "ringsan", "scheme": "https", "tls_config": {"ca_file": str(served.certificate)},
                                    "authorization": {"credentials": over_tcp.READ},
                                    "static_configs": [{"targets": [f"127.0.0.1:{served.https}"]}]}]}
        file = Path(folder) / "prometheus.yml"
        file.write_text(json.dumps(text))  # which is YAML
        command = [of_prometheus("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={folder}/data",
                   f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, preexec_fn=die_with_parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=SOON) as answer:
            return json.loads(answer.read())["data"]

    def ask(self, expression):
        """What an expression comes to now: [(labels, value)]. HTTPError: it is none."""
        data = self.get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def scraped_since(self, moment):
        """Waits for two scrapes that have begun after that moment."""
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                found = self.ask('timestamp(up{job="ringsan"} == 1)')
                if found and found[0][1] > moment + 1:
                    return True
            time.sleep(0.2)
        return False


def prepare(served):
    """Before it starts: it is to be reached over TCP."""
    over_tcp.prepare(served, configuration(lun(0, "8MiB"), lun(1, "4MiB")))


def check(served, checks):
    """All of it."""
    load = Load(("127.0.0.1", served.port))
    load.start()
    with tempfile.TemporaryDirectory() as folder, Prometheus(served, folder) as prometheus:
        begun = prometheus.scraped_since(time.time())
        checks.check("it is scraped, over TLS and with a token", begun, prometheus.log.read_text())
        agrees(served, prometheus, checks)
        shown(prometheus, checks)
        alerts(prometheus, checks)
        said = prometheus.log.read_text()
        checks.check("Prometheus has nothing against it", "level=warn" not in said and "level=error" not in said, said)
    names(served, checks)
    fault = load.end()
    checks.check("the session with verified I/O noticed nothing", fault is None and load.rounds > 100, f"{fault!r} after {load.rounds} rounds")


def agrees(served, prometheus, checks):
    """What an initiator does at a LUN of its own, to the command."""
    with contextlib.closing(Session(("127.0.0.1", served.port), IQN, initiator=INITIATOR)) as session:
        session.ready(1)
        for number in range(WRITES):
            session.execute(1, write10(number, BLOCKS), bytes(BLOCKS * BLOCK)).good()
        for number in range(READS):
            session.execute(1, read10(number, 1), expected=BLOCK).good()
        session.execute(1, synchronize_cache10()).good()
        session.execute(1, read10(1 << 30, 1), expected=BLOCK)
        session.logout()
    checks.check("it is scraped again", prometheus.scraped_since(time.time()), prometheus.log.read_text())
    of = f'target="{IQN}",lun="1"'
    wanted = {
        f'ringsan_lun_commands_total{{{of},kind="read"}}': READS, f'ringsan_lun_commands_total{{{of},kind="write"}}': WRITES,
        f'ringsan_lun_commands_total{{{of},kind="flush"}}': 1, f'ringsan_lun_transferred_bytes_total{{{of},kind="read"}}': READS * BLOCK,
        f'ringsan_lun_transferred_bytes_total{{{of},kind="write"}}': WRITES * BLOCKS * BLOCK,
        f'ringsan_lun_errors_total{{{of},sense="illegal request"}}': 1, f'ringsan_lun_queued_commands{{{of}}}': 0,
        "sum(ringsan_sessions)": 1, "ringsan_healthy": 1,
    }
    found = {expression: prometheus.ask(expression) for expression in wanted}
    told = {expression: [value for _, value in values] for expression, values in found.items()}
    checks.check("what it has is what an initiator did", told == {expression: [value] for expression, value in wanted.items()}, str(told))


def expressions():
    """(panel, what it asks) of the dashboard, with its variables set."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$instance", ".*").replace("$__rate_interval", "10s")


def shown(prometheus, checks):
    """The dashboard has something to show."""
    empty, wrong = [], []

    def ask(title, expression):
        try:
            return prometheus.ask(expression)
        except OSError as error:
            wrong.append((title, expression, str(error)))
            return [({}, 0.0)]

    asked = list(expressions())
    for title, expression in asked:
        if not ask(title, expression) and title not in MAY_BE_EMPTY:
            empty.append((title, expression))
    checks.check("all that the dashboard asks is asked well, and has an answer", len(asked) >= 20 and not wrong and not empty, str((wrong, empty)))
    ask("none", "sum(ringsan_healthy")
    checks.check("what is asked badly is found", len(wrong) == 1, str(wrong))


def alerts(prometheus, checks):
    """The rules are evaluated, and none fires where all is well."""
    rules = [rule for group in prometheus.get("/api/v1/rules")["groups"] for rule in group["rules"]]
    bad = [rule["name"] for rule in rules if rule["health"] != "ok" or rule["state"] != "inactive"]
    checks.check("no rule is wrong, and none fires", len(rules) >= 10 and not bad, str(bad))
    tests = RULES.with_name("ringsan.rules.test.yml")
    done = subprocess.run([of_prometheus("promtool"), "test", "rules", tests], capture_output=True, check=False)
    checks.check("each fires when it should, and not when it should not", done.returncode == 0, (done.stdout + done.stderr).decode())
    untested = [rule["name"] for rule in rules if f"alertname: {rule['name']}\n" not in tests.read_text()]
    checks.check("each is tested", not untested, str(untested))


def names(served, checks):
    """What is asked for is there, and what is there is described."""
    text = served.ask("GET", "/metrics")[2].decode()
    there = {SUFFIX.sub("", line.split("{")[0].split(" ")[0]) for line in text.splitlines() if line and not line.startswith("#")}
    asked = {SUFFIX.sub("", name) for name in re.findall(r"ringsan_[a-z_]+", RULES.read_text() + " ".join(of for _, of in expressions()))}
    checks.check("all that rules and dashboard ask for is there", asked and asked <= there, str(asked - there))
    page = (ROOT / "docs/control.md").read_text().split("\n## Metrics\n")[1]
    described = {SUFFIX.sub("", name) for name in re.findall(r"`(ringsan_[a-z_]+)`", page)}
    checks.check("all that is there is described, and the other way round", there == described, f"not described: {there - described}; not there: {described - there}")
