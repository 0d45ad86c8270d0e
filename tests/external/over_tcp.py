"""The control plane over TCP: who gets in, and what those who do not can do to the others. `tests/external/control` calls `check`."""

import contextlib
import grp
import http.client
import json
import os
import resource
import socket
import ssl
import subprocess
import threading
import time

from target import free_port

FULL, READ = "full-token-of-the-tests", "read-token-of-the-tests"
SILENT = 1000
HANDSHAKE_S = 5  # limits::CONTROL_HANDSHAKE


class Https(http.client.HTTPSConnection):
    """A connection from an address of this machine."""

    def __init__(self, served, source="127.0.0.1", timeout=15):
        trust = ssl.create_default_context(cafile=served.certificate)
        super().__init__("127.0.0.1", served.https, timeout=timeout, source_address=(source, 0), context=trust)


def ask(served, method, path, token=FULL, headers=None, source="127.0.0.1"):
    """(status, headers, body) of a request."""
    with contextlib.closing(Https(served, source)) as connection:
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, None, bearer | (headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def is_problem(answer, status):
    """Whether it is refused with this status, as RFC 9457 has it."""
    got, headers, body = answer
    return got == status and headers["content-type"] == "application/problem+json" and json.loads(body)["status"] == status


def prepare(served, of_text):
    """Has `served` listen over TCP, and let the first group of this user in; `of_text` is what else its file says."""
    served.https = free_port()
    served.tokens = served.folder / "control.tokens"
    served.tokens.write_text(f"# who may come\nops full {FULL}\nwatch read {READ}\n")
    served.tokens.chmod(0o600)
    served.certificate = served.folder / "ringsan-data" / "control.crt"
    served.group = grp.getgrgid(os.getgid()).gr_name
    served.text = (f'[control]\nlisten = ["127.0.0.1:{served.https}"]\ntokens = "control.tokens"\n'
                   f'group = "{served.group}"\n\n{of_text}')
    served.write(served.text)


def check(served, checks):
    """All of it."""
    who(served, checks)
    commands(served, checks)
    pages(served, checks)
    no_tls(served, checks)
    reloads(served, checks)
    crowds(served, checks)
    guesses(served, checks)
    faults(served, checks)


def who(served, checks):
    """Tokens, and what they may."""
    mode = served.control.stat()
    checks.check("the socket is for a group, too", (mode.st_mode & 0o777, mode.st_gid) == (0o660, os.getgid()), oct(mode.st_mode))
    status, _, body = ask(served, "GET", "/v1/version")
    checks.check("HTTPS with the self-made certificate", status == 200 and json.loads(body)["api"] == "v1", str(status))
    checks.check("its key is for its owner alone", served.certificate.with_suffix(".key").stat().st_mode & 0o777 == 0o600)
    answer = ask(served, "GET", "/v1/version", token=None)
    checks.check("without a token: 401", is_problem(answer, 401) and answer[1]["www-authenticate"].startswith("Bearer"), str(answer))
    began = time.monotonic()
    answer = ask(served, "GET", "/v1/version", token="no-token-of-anybody")
    took = time.monotonic() - began
    checks.check("a wrong token: 401, and not at once", is_problem(answer, 401) and "invalid_token" in answer[1]["www-authenticate"] and took > 0.25, f"{answer} {took}")
    checks.check("a token to see with sees", ask(served, "GET", "/v1/status", READ)[0] == 200)
    answer = ask(served, "POST", "/v1/reload", READ)
    checks.check("and changes nothing: 403", is_problem(answer, 403) and "insufficient_scope" in answer[1]["www-authenticate"], str(answer))
    answer = ask(served, "GET", "/v1/trace?count=1&data=true", READ)
    checks.check("nor sees what hosts read and write: 403", is_problem(answer, 403), str(answer))
    checks.check("another one does", ask(served, "POST", "/v1/reload")[0] == 200)
    log = served.log.read_text()
    checks.check("no token is in the log, and who changed something is", FULL not in log and READ not in log and 'token="ops"' in log)
    digest = subprocess.run(["openssl", "x509", "-in", str(served.certificate), "-noout", "-fingerprint", "-sha256"], capture_output=True, text=True, check=True)
    checks.check("the log has the fingerprint", digest.stdout.strip().partition("=")[2] in log, digest.stdout)


def commands(served, checks):
    """The command line as a client."""
    mine = served.folder / "mine.token"
    mine.write_text(FULL + "\n")
    over = ("--server", f"https://127.0.0.1:{served.https}", "--token-file", str(mine))
    trusting = (*over, "--ca", str(served.certificate))
    code, out, err = served.run("status", *trusting)
    checks.check("status of a server elsewhere", code == 0 and "all is well" in out, out + err)
    code, out, err = served.run("status", *over)
    checks.check("whose certificate nobody vouches for: an error", code != 0 and not out, out + err)
    code, out, err = served.run("token", "new", "--name", "new", "--read", socketless=True)
    words = out.split()
    checks.check("a new token", code == 0 and words[:2] == ["new", "read"] and len(words[2]) == 43, out + err)
    mine.write_text(out)
    code, _, err = served.run("status", *trusting)
    checks.check("that nobody knows: exit code 2", code == 2 and "nobody has this token" in err, err)
    with served.tokens.open("a") as file:
        file.write(out)
    code, _, err = served.run("reload")
    checks.check("until the file has it", code == 0 and served.run("status", *trusting)[0] == 0, err)
    code, _, err = served.run("lun", "add", "-s", "kind=ram", "-s", "size=1MiB", *trusting)
    checks.check("it may see only: exit code 2", code == 2 and "neither change it" in err, err)


def pages(served, checks):
    """What a page in somebody's browser could do."""
    own = f"https://127.0.0.1:{served.https}"
    for name, headers, wanted in [
        ("a page of somebody else", {"Origin": "https://evil.example"}, 403),
        ("a page of no origin", {"Origin": "null"}, 403),
        ("a page of this server", {"Origin": own}, 200),
        ("a name that was made to mean this address", {"Host": f"evil.example:{served.https}"}, 421),
        ("another address", {"Host": "192.0.2.77"}, 421),
        ("a name in the certificate", {"Host": "localhost"}, 200),
    ]:
        status = ask(served, "GET", "/v1/version", headers=headers)[0]
        checks.check(f"{name}: {wanted}", status == wanted, str(status))
    status = served.ask("GET", "/v1/version", headers={"Origin": "http://localhost"})[0]
    checks.check("a page at the unix socket: 403", status == 403, str(status))


def no_tls(served, checks):
    """Who does not speak TLS, or half of it."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", served.https, timeout=10)) as plain:
        plain.request("GET", "/v1/version", headers={"Authorization": f"Bearer {FULL}"})
        answer = plain.getresponse()
        body = answer.read()
        checks.check("HTTP without TLS: 400", is_problem((answer.status, answer.headers, body), 400) and b"https://" in body, str(body))
    half = socket.create_connection(("127.0.0.1", served.https))
    half.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    began = time.monotonic()
    half.settimeout(HANDSHAKE_S + 10)
    with contextlib.suppress(ConnectionError):
        half.recv(1)
    took = time.monotonic() - began
    half.close()
    checks.check("half a handshake is ended", HANDSHAKE_S - 1 < took < HANDSHAKE_S + 4, f"{took:.1f} s")


def reloads(served, checks):
    """Tokens and certificate change while it serves, also for a connection that is there."""
    with contextlib.closing(Https(served)) as kept:
        watch = {"Authorization": f"Bearer {READ}"}
        kept.request("GET", "/v1/version", headers=watch)
        first = kept.getresponse()
        first.read()
        served.tokens.write_text(f"ops full {FULL}\n")
        code, out, _ = served.run("reload")
        kept.request("GET", "/v1/version", headers=watch)
        second = kept.getresponse()
        second.read()
        checks.check("a token is taken away", (first.status, second.status) == (200, 401) and code == 0 and "tokens" in out, out)
    served.tokens.write_text("ops full short\n")
    code, _, err = served.run("reload")
    still = ask(served, "GET", "/v1/version")[0]
    checks.check("a file that is none changes nothing", code == 2 and "control.tokens:1:" in err and still == 200, err)
    served.tokens.write_text(f"ops full {FULL}\nwatch read {READ}\n")
    key, certificate = served.folder / "other.key", served.folder / "other.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key), "-out", str(certificate),
                    "-subj", "/CN=other", "-addext", "subjectAltName=IP:127.0.0.1,DNS:disks.example", "-days", "2"], check=True, capture_output=True)
    key.chmod(0o644)
    names = f'[control]\ncertificate = "{certificate.name}"\nkey = "{key.name}"\n'
    served.write(served.text.replace("[control]\n", names))
    code, _, err = served.run("reload")
    checks.check("a key that others can read is refused", code == 2 and "control.key: " in err and "others than its owner" in err, err)
    key.chmod(0o600)
    code, out, err = served.run("reload")
    served.certificate = certificate
    status = ask(served, "GET", "/v1/version", headers={"Host": "disks.example"})[0]
    checks.check("another certificate", code == 0 and "certificate" in out and status == 200, f"{out} {err} {status}")
    served.write(served.text.replace("[control]\n", names).replace(str(served.https), str(free_port())))
    code, out, _ = served.run("reload")
    checks.check("another address takes a restart", code == 0 and "control.listen takes a restart" in out, out)
    served.write(served.text.replace("[control]\n", names))
    served.run("reload")


def crowds(served, checks):
    """A thousand that say nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, SILENT + 200)), hard))
    silent, over = [], threading.Event()

    def is_closed(one):
        try:
            return one.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def fill():
        # Who is closed comes again, and again.
        while not over.is_set():
            for one in [one for one in silent if is_closed(one)]:
                silent.remove(one)
                one.close()
            for _ in range(SILENT - len(silent)):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", served.https))
                silent.append(one)
            time.sleep(0.3)

    crowd = threading.Thread(target=fill, daemon=True)
    crowd.start()
    while len(silent) < SILENT:
        time.sleep(0.05)
    took = []
    for source in ("127.0.0.2", None) * 5:
        began = time.monotonic()
        if source:
            status = ask(served, "GET", "/v1/version", source=source)[0]
        else:
            status = served.ask("GET", "/v1/version")[0]
        took.append((status, time.monotonic() - began))
    good = all(status == 200 and seconds < 3 for status, seconds in took)
    checks.check(f"beside {SILENT} that say nothing, another address and the socket are answered", good, str(took))
    over.set()
    crowd.join(10)
    checks.check("and their own address, once they come no more", ask(served, "GET", "/v1/version")[0] == 200)
    for one in silent:
        one.close()


def guesses(served, checks):
    """Many wrong tokens from one address."""
    statuses = []

    def guess():
        with contextlib.suppress(OSError):
            statuses.append(ask(served, "GET", "/v1/version", token="guess-guess-guess-guess", source="127.0.0.3"))

    threads = [threading.Thread(target=guess, daemon=True) for _ in range(14)]
    for one in threads:
        one.start()
    began = time.monotonic()
    status = ask(served, "GET", "/v1/version", source="127.0.0.2")[0]
    waited = time.monotonic() - began
    for one in threads:
        one.join(20)
    seen = sorted({answer[0] for answer in statuses})
    told = [answer[1]["retry-after"] for answer in statuses if answer[0] == 429]
    checks.check("who guesses is told to wait", seen == [401, 429] and all(told), f"{seen} {told}")
    checks.check("and others do not", status == 200 and waited < 3, f"{status} {waited:.1f} s")
    barred = ask(served, "GET", "/v1/version", source="127.0.0.3")[0]
    checks.check("a right one there is not looked at until then", barred == 429, str(barred))
    checks.check("the log says so", "a wrong token" in served.log.read_text())


def faults(served, checks):
    """What cannot be served is said with file, line and key."""
    other = served.folder / "other.toml"
    for name, keys, said in [
        ("no tokens", 'listen = ["127.0.0.1:1"]', "control.listen: needs tokens"),
        ("a file that is not there", 'listen = ["127.0.0.1:1"]\ntokens = "none"', "control.tokens: "),
        ("no group", 'group = "no such group"', "control.group: there is no group"),
    ]:
        other.write_text(f"[control]\n{keys}\n\n" + served.text.partition("\n\n")[2])
        code, _, err = served.run("check", "--config", str(other), socketless=True)
        checks.check(f"check: {name}", code == 2 and said in err and "other.toml:" in err, err)
