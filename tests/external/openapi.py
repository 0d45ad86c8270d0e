"""The OpenAPI document: whether it is one, whether each example in it can be run, and whether each answer is what it says.
`tests/external/interface` calls `check`."""

import contextlib
import http.client
import json
import re
import urllib.parse

from initiator import Session
from jsonschema import Draft202012Validator
from plane import INITIATOR
from target import IQN, free_port

METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}
# What ends answers that would go on.
ENDS = {"/v1/events": {"follow": "false"}, "/v1/trace": {"count": "1"}}
# The story that the examples are: what makes something comes before what needs it, and what is taken away goes last.
STORY = ["account_put", "account_set", "target_put", "target_set", "lun_put", "lun_set", "lun_add", "group_put", "group_set", "portal_put",
         "portal_set", "log_filter_set", "portal_remove", "group_remove", "lun_remove", "target_remove", "account_remove", "reload", "config_put"]


def walk(node, at="#"):
    """(where, value) of everything in a document."""
    yield at, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, child in children:
        yield from walk(child, f"{at}/{name}")


class Document:
    """The document of a server, and the server."""

    def __init__(self, served):
        self.served = served
        self.document = served.get("/openapi.json")
        self.operations = {operation["operationId"]: (method, path, operation) for path, of in self.document["paths"].items()
                           for method, operation in of.items() if method in METHODS}
        self.called, self.wrong = set(), []
        # Examples have the ports that everybody has; here they are free ones.
        self.places = {"127.0.0.1:3260": f"127.0.0.1:{served.port}", "127.0.0.1:3270": f"127.0.0.1:{free_port()}"}

    def validator(self, schema):
        """Of a schema of the document, with its references."""
        return Draft202012Validator({"components": self.document["components"], **schema})

    def flaws(self):
        """What keeps it from being an OpenAPI document (3.1), as far as that can be told without its own schema."""
        found = [key for key in ("openapi", "info", "paths", "components") if key not in self.document]
        ids = [operation["operationId"] for of in self.document["paths"].values() for operation in of.values()]
        found += [f"two operations {one}" for one in set(ids) if ids.count(one) > 1]
        for at, node in walk(self.document):
            if isinstance(node, dict) and isinstance(node.get("$ref"), str):
                target = dict(walk(self.document)).get(node["$ref"]) if node["$ref"].startswith("#/") else None
                found += [] if target is not None else [f"{at}: {node['$ref']} is nowhere"]
        for name, schema in self.document["components"]["schemas"].items():
            try:
                Draft202012Validator.check_schema(schema)
            except Exception as error:  # pylint: disable=broad-except
                found.append(f"{name}: {error}")
        for name, (method, path, operation) in self.operations.items():
            said = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path" and one["required"]}
            if said != set(re.findall(r"{(\w+)}", path)):
                found.append(f"{name}: its path has other parameters than it says")
            found += [] if operation["responses"] else [f"{name}: no responses"]
            bodies = operation.get("requestBody", {}).get("content", {}).values()
            for body in bodies:
                found += [f"{name}: {error.message}" for error in self.validator(body["schema"]).iter_errors(body.get("example"))]
        return found

    def placed(self, text):
        """An example, with places that can be had."""
        for place, free in self.places.items():
            text = text.replace(place, free) if isinstance(text, str) else text
        return text

    def call(self, name, values=None, query=None, body=None, headers=None):
        """The status of an operation's answer, which is held against what it says. `values` of its path: the examples where they are not given."""
        method, path, operation = self.operations[name]
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                value = (values or {}).get(parameter["name"], self.placed(parameter.get("example")))
                path = path.replace("{%s}" % parameter["name"], urllib.parse.quote(str(value), safe=""))
        query = ENDS.get(path, {}) | (query or {})
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            body = content["example"] if body is None else body
            body = self.placed(json.dumps(body) if kind == "application/json" else body)
            headers = {"Content-Type": kind} | (headers or {})
        status, kind, answer = self.served.ask(method.upper(), path + ("?" + urllib.parse.urlencode(query) if query else ""), body, headers)
        self.called.add(name)
        self.hold(name, operation, (status, kind, answer))
        return status

    def hold(self, name, operation, told):
        """Notes what an answer is that the document does not say."""
        status, kind, answer = told
        said = operation["responses"].get(str(status))
        if said is None:
            return self.wrong.append((name, status, "is not in the document", answer[:200]))
        contents = {one.split(";")[0]: content for one, content in said.get("content", {}).items()}
        kind = (kind or "").split(";")[0]
        if bool(contents) != bool(answer) or (contents and kind not in contents):
            return self.wrong.append((name, status, kind, f"instead of {list(contents)}"))
        if kind.endswith("json"):
            errors = [error.message for error in self.validator(contents[kind]["schema"]).iter_errors(json.loads(answer))]
            self.wrong += [(name, status, error) for error in errors]
        return None


def check(served, checks):
    """All of it. Last: the configuration is another one then."""
    document = Document(served)
    flaws = document.flaws()
    checks.check("it is an OpenAPI document of 3.1", document.document["openapi"].startswith("3.1") and not flaws, str(flaws))
    with contextlib.closing(Session(("127.0.0.1", served.port), IQN, initiator=INITIATOR)) as session:
        session.ready(0)
        looks(document, checks)
        refusals(document, checks)
        tsih = served.get("/v1/sessions")["sessions"][0]["tsih"]
        checks.check("a session is dropped", document.call("session_drop", {"tsih": tsih}) == 204)
    told = {name: document.call(name, query={"dry-run": "true"}) for name in ("account_put", "target_put", "portal_put", "config_put")}
    checks.check("what would be done is told", set(told.values()) == {200}, str(told))
    bodies = [name for name, (_, _, operation) in document.operations.items() if operation.get("requestBody")]
    checks.check("each example is a part of the story", set(bodies) <= set(STORY), str(set(bodies) - set(STORY)))
    told = {name: document.call(name, query={"force": "true"} if name.endswith("remove") or name == "config_put" else None) for name in STORY}
    checks.check("each example can be run", set(told.values()) == {200}, str({name: status for name, status in told.items() if status != 200}))
    checks.check("each operation was called", document.called == set(document.operations), str(set(document.operations) - document.called))
    checks.check("each answer is what the document says", not document.wrong, str(document.wrong[:10]))
    document.hold("none", {"responses": {"200": {"content": {"application/json": {"schema": {"type": "string"}}}}}}, (200, "application/json", b"1"))
    document.hold("none", {"responses": {}}, (500, "text/plain", b"1"))
    checks.check("what is something else is found", len(document.wrong) == 2, str(document.wrong))


def looks(document, checks):
    """Each GET, with what there is."""
    tsih = document.served.get("/v1/sessions")["sessions"][0]["tsih"]
    gets = [name for name, (method, _, _) in document.operations.items() if method == "get"]
    told = {name: document.call(name, {"name": IQN, "tsih": tsih}) for name in gets if name != "trace"}
    checks.check("all that can be looked at is there", set(told.values()) == {200}, str(told))
    with contextlib.suppress(http.client.HTTPException):
        document.call("trace", query={"seconds": "1"})


def refusals(document, checks):
    """Each operation, asked for what there is not, or with what is none."""
    told = {}
    nothing = {"name": "iqn.2026-12.com.example:none", "group": "none", "user": "none", "listen": "127.0.0.1:1", "lun": 99, "tsih": 65535}
    for name, (method, _, operation) in document.operations.items():
        if operation.get("requestBody"):
            told[name, "none"] = document.call(name, nothing, body=0 if method != "put" or name != "config_put" else "[", query={"dry-run": "true"} if name != "log_filter_set" else None)
        elif method == "delete" or any(one["in"] == "path" for one in operation.get("parameters", [])):
            told[name, "nothing"] = document.call(name, nothing)
        if any(one["name"] == "If-Match" for one in operation.get("parameters", [])):
            told[name, "another text"] = document.call(name, headers={"If-Match": '"another"'})
    good = {what: status for what, status in told.items() if not 400 <= status < 500}
    checks.check("what cannot be is refused, as the document says", len(told) >= 35 and not good, f"{len(told)}: {good}")
