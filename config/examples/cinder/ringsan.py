# Licensed under either of Apache License, Version 2.0, or MIT license, at your option.
"""A Cinder target driver: exports volumes of a node through the ringsan that runs on it.

Each volume is a target of its own with one logical unit, LUN 0, an account, and an initiator group for each host that it is
attached to. Every call says what is to be, not what is to be done: a call that is repeated, or goes on where one was broken
off, does no harm. README.md says how Cinder is told of it.
"""

import hashlib
import http.client
import json
import os
import socket
import urllib.parse

from oslo_config import cfg
from oslo_log import log as logging

from cinder import exception
from cinder.volume import configuration
from cinder.volume.targets import iscsi

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.StrOpt("ringsan_socket", default="/run/ringsan/control.sock", help="The control socket of ringsan"),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)

TIMEOUT_S = 150


class RingsanError(exception.VolumeDriverException):
    message = "ringsan: %(reason)s"


class Control(http.client.HTTPConnection):
    """The control interface of ringsan, on its unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=TIMEOUT_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Ringsan(iscsi.ISCSITarget):
    """Volumes as targets of ringsan."""

    def _ask(self, method, *path, body=None, force=False, missing=False):
        """What ringsan answers. `missing`: there may be no such thing, which is None."""
        at = "/v1/" + "/".join(urllib.parse.quote(part, safe=":") for part in path)
        control = Control(self.configuration.safe_get("ringsan_socket"))
        try:
            sent = None if body is None else json.dumps(body)
            control.request(method, at + ("?force=true" if force else ""), sent, {"Content-Type": "application/json"})
            answer = control.getresponse()
            said = json.loads(answer.read() or b"null")
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise RingsanError(reason=f"{method} {at}: {error}") from error
        finally:
            control.close()
        if answer.status == 404 and missing:
            return None
        if answer.status >= 400:
            raise RingsanError(reason=f"{method} {at}: {said.get('detail', answer.status)}")
        return said

    @staticmethod
    def _group(connector):
        """The name of the initiator group of a host: initiator names can be longer than names of groups."""
        return "host-" + hashlib.sha256(connector["initiator"].encode()).hexdigest()[:24]

    def _iqn(self, volume):
        return f"{self.configuration.target_prefix}{volume['name']}".lower()

    def _get_target_and_lun(self, context, volume):
        return 1, 0

    def _get_iscsi_target(self, context, vol_id):
        return 1

    def _get_target(self, iqn):
        return self._ask("GET", "targets", iqn, missing=True) and 1

    def create_iscsi_target(self, name, tid, lun, path, chap_auth=None, **kwargs):
        name = name.lower()
        said = {"others": "deny"}
        if chap_auth:
            user, secret = chap_auth
            self._ask("PUT", "accounts", user, body={"secret": secret})
            said["accounts"] = [user]
        # Only what is said here: groups of hosts stay as they are.
        self._ask("PUT", "targets", name, body=said)
        self._ask("PUT", "targets", name, "luns", str(lun), body={"path": os.path.abspath(path)}, force=True)
        return 1

    def remove_iscsi_target(self, tid, lun, vol_id, vol_name, **kwargs):
        iqn = f"{self.configuration.target_prefix}{vol_name}".lower()
        found = self._ask("GET", "targets", iqn, missing=True)
        if found is None:
            return
        self._ask("DELETE", "targets", iqn, force=True, missing=True)
        for user in found["users"]:
            self._ask("DELETE", "accounts", user, missing=True)

    def remove_export(self, context, volume):
        self.remove_iscsi_target(1, 0, volume["id"], volume["name"])

    def initialize_connection(self, volume, connector):
        self.validate_connector(connector)
        said = {"initiators": [connector["initiator"].lower()]}
        self._ask("PUT", "targets", self._iqn(volume), "groups", self._group(connector), body=said)
        return super().initialize_connection(volume, connector)

    def terminate_connection(self, volume, connector, **kwargs):
        found = self._ask("GET", "targets", self._iqn(volume), missing=True)
        # Without a connector: whoever has it.
        groups = [group["name"] for group in (found or {"groups": []})["groups"] if group["name"].startswith("host-")]
        for group in [self._group(connector)] if connector else groups:
            if group in groups:
                self._ask("DELETE", "targets", self._iqn(volume), "groups", group, force=True, missing=True)

    def extend_target(self, volume):
        # A volume without a size in the file is measured again; its hosts are told.
        self._ask("POST", "reload")
