"""A minimal iSCSI initiator (RFC 7143) on plain sockets, for tests that need to see or to break single PDUs.

`Connection` sends and receives PDUs and counts CmdSN and ExpStatSN; `Session` logs in over one connection and has SCSI
commands, one at a time (`execute`) or many in flight (`submit`, `reap`); `Leg` is one more connection of a session. Header
and data digests are optional. Nothing is hidden from a test: any PDU can be built with `bhs` and sent with `send`.

Not done: security, recovery other than giving up, bidirectional commands.
"""

import random
import socket
import struct
import time

NOP_OUT, SCSI_COMMAND, TASK_MANAGEMENT, LOGIN, TEXT, DATA_OUT, LOGOUT, SNACK = 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10
NOP_IN, SCSI_RESPONSE, TASK_RESPONSE, LOGIN_RESPONSE, TEXT_RESPONSE, DATA_IN, LOGOUT_RESPONSE, R2T, ASYNC, REJECT = (
    0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3F)
RESERVED_TAG = 0xFFFFFFFF
IMMEDIATE = 0x40
FINAL = 0x80

GOOD, CHECK_CONDITION = 0x00, 0x02
ABORT_TASK, LOGICAL_UNIT_RESET = 1, 5


def _crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


_CRC32C = _crc32c_table()


def crc32c(data):
    """CRC32C of `data`, as the digests have it; slow, but header digests and small data are all it is for."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


class Closed(ConnectionError):
    """The target closed or reset the connection."""


class ProtocolError(Exception):
    """The target sent what it must not send."""


class LoginFailed(Exception):
    """A Login Response with a status class other than 0."""

    def __init__(self, status):
        super().__init__(f"login status 0x{status:04x}")
        self.status = status


class Pdu:
    """A received PDU: the 48 bytes of its header, and its data."""

    def __init__(self, header, data):
        self.header = header
        self.data = data
        self.opcode = header[0] & 0x3F
        self.flags = header[1]
        self.final = bool(header[1] & FINAL)
        self.itt = self.word(16)
        self.ttt = self.word(20)

    def word(self, offset):
        """The 32-bit field at `offset`."""
        return struct.unpack_from(">I", self.header, offset)[0]

    def keys(self):
        """Its data as text keys, in order."""
        pairs = (item.partition(b"=") for item in self.data.split(b"\0") if item)
        return {key.decode(): value.decode() for key, _, value in pairs}

    def __repr__(self):
        return f"Pdu({self.header.hex(' ', 4)}, {len(self.data)} bytes)"


def bhs(opcode, flags=FINAL, lun=0, itt=RESERVED_TAG, ttt=0, fields=(), data_length=0, ahs_words=0, specific=b"\0\0"):
    """A Basic Header Segment: `fields` are (offset, 32-bit value), `specific` the bytes 2 and 3."""
    header = bytearray(48)
    header[0], header[1] = opcode, flags
    header[2:4] = specific
    header[4] = ahs_words
    header[5:8] = data_length.to_bytes(3, "big")
    # Peripheral or flat addressing, as SAM has it for the first 16384.
    header[8:10] = (lun if lun < 256 else lun | 0x4000).to_bytes(2, "big")
    struct.pack_into(">I", header, 16, itt)
    struct.pack_into(">I", header, 20, ttt)
    for offset, value in fields:
        struct.pack_into(">I", header, offset, value & 0xFFFFFFFF)
    return bytes(header)


class Connection:
    """One TCP connection. Digests are off until `header_digest` and `data_digest` are set."""

    # Of the session, not of the connection: see Leg.
    cmd_sn = 1
    max_cmd_sn = None

    def __init__(self, address, timeout=10.0, source=None):
        self.socket = socket.create_connection(address, timeout=timeout, source_address=source and (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.header_digest = False
        self.data_digest = False
        self.received = bytearray()
        self.exp_stat_sn = 0

    def raw(self, data):
        """Sends bytes as they are."""
        try:
            self.socket.sendall(data)
        except (ConnectionError, BrokenPipeError) as error:
            raise Closed(str(error)) from error

    def encode(self, header, data=b""):
        """The bytes on the wire: digests and padding added."""
        parts = [header]
        if self.header_digest:
            parts.append(struct.pack("<I", crc32c(header)))
        if data:
            padded = data + bytes(-len(data) % 4)
            parts.append(padded)
            if self.data_digest:
                parts.append(struct.pack("<I", crc32c(padded)))
        return b"".join(parts)

    def send(self, header, data=b""):
        """Sends a PDU."""
        self.raw(self.encode(header, data))

    def _take(self, count):
        while len(self.received) < count:
            try:
                piece = self.socket.recv(1 << 18)
            except TimeoutError:
                raise
            except OSError as error:
                raise Closed(str(error)) from error
            if not piece:
                raise Closed("end of the stream" + (" within a PDU" if self.received else ""))
            self.received += piece
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    def receive(self):
        """The next PDU. TimeoutError after the socket's timeout, Closed at the end."""
        header = self._take(48)
        if self.header_digest and self._take(4) != struct.pack("<I", crc32c(header)):
            raise ProtocolError("the header digest is wrong")
        if header[4]:
            raise ProtocolError("an additional header segment")
        length = int.from_bytes(header[5:8], "big")
        padded = self._take(length + -length % 4)
        if self.data_digest and length and self._take(4) != struct.pack("<I", crc32c(padded)):
            raise ProtocolError("the data digest is wrong")
        pdu = Pdu(header, padded[:length])
        if pdu.opcode != R2T and not (pdu.opcode == DATA_IN and not pdu.flags & 1) and not (
                pdu.opcode == NOP_IN and pdu.itt == RESERVED_TAG):
            # It carries a StatSN of its own.
            self.exp_stat_sn = (pdu.word(24) + 1) & 0xFFFFFFFF
        self.max_cmd_sn = pdu.word(32)
        return pdu

    def wait_closed(self, seconds):
        """Whether the target closes the connection within that time (what it still sends is thrown away)."""
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                self.socket.settimeout(left)
                if not self.socket.recv(65536):
                    return True
        except TimeoutError:
            return False
        except OSError:
            return True
        return False

    def fileno(self):
        """For select."""
        return self.socket.fileno()

    def close(self):
        """Closes the socket."""
        self.socket.close()


class Task:
    """A command in flight, then its outcome."""

    def __init__(self, itt, data_out, expected):
        self.itt = itt
        self.data_out = data_out
        self.data_in = bytearray(expected)
        self.status = None
        self.sense = b""
        self.tag = None

    def sense_code(self):
        """(sense key, ASC, ASCQ); None with GOOD, ("status", status) if there is no sense data."""
        if self.status == GOOD:
            return None
        if self.status != CHECK_CONDITION or len(self.sense) < 14:
            return ("status", self.status)
        return (self.sense[2] & 15, self.sense[12], self.sense[13])

    def information(self):
        """INFORMATION of its sense data of fixed format, if that is valid."""
        return struct.unpack_from(">I", self.sense, 3)[0] if self.sense[:1] == b"\xf0" else None

    def good(self):
        """Raises unless its status is GOOD."""
        if self.status != GOOD:
            raise ProtocolError(f"status 0x{self.status:02x}, sense {self.sense[:20].hex(' ')}")
        return self


class Session(Connection):
    """A normal (or, without a target name, a discovery) session on one connection."""

    # What a Login Request says about which session and which of its connections this is.
    tsih, cid = 0, 0

    def __init__(self, address, target, initiator="iqn.2026-11.io.ringsan:test-initiator", timeout=10.0, keys=None,
                 isid=None, source=None):
        super().__init__(address, timeout, source)
        self.isid = b"\x80" + (isid or random.randrange(1, 1 << 24)).to_bytes(3, "big") + b"\0\0"
        self.keys = {
            "InitiatorName": initiator, "SessionType": "Normal" if target else "Discovery", "AuthMethod": "None",
            "HeaderDigest": "None", "DataDigest": "None", "ErrorRecoveryLevel": "0", "MaxConnections": "1",
            "InitialR2T": "Yes", "ImmediateData": "Yes", "MaxRecvDataSegmentLength": "262144",
            "MaxBurstLength": "1048576", "FirstBurstLength": "262144", "MaxOutstandingR2T": "1",
            "DefaultTime2Wait": "2", "DefaultTime2Retain": "0",
        }
        if target:
            self.keys["TargetName"] = target
        self.keys.update(keys or {})
        self.next_itt = 1
        self.tasks = {}
        self.answers = {}
        self.login()

    def login_response(self):
        """The answer to a Login Request, if it is no refusal."""
        answer = self.receive()
        if answer.opcode != LOGIN_RESPONSE:
            raise ProtocolError(f"{answer} instead of a Login Response")
        status = struct.unpack_from(">H", answer.header, 36)[0]
        if status:
            raise LoginFailed(status)
        return answer

    def login(self):
        """Straight to the operational stage, and from there to the full feature phase."""
        text = b"".join(f"{key}={value}\0".encode() for key, value in self.keys.items() if key != "AuthMethod")
        fields = ((24, self.cmd_sn), (28, 0))
        for _ in range(10):
            header = bytearray(bhs(LOGIN | IMMEDIATE, 0x87, itt=0, fields=fields, data_length=len(text)))
            header[8:14] = self.isid
            header[14:16], header[20:22] = self.tsih.to_bytes(2, "big"), self.cid.to_bytes(2, "big")
            self.send(bytes(header), text)
            answer = self.login_response()
            self.answers.update(answer.keys())
            if answer.flags & 0x83 == 0x83:
                self.tsih = struct.unpack_from(">H", answer.header, 14)[0]
                break
            text = b""
            fields = ((24, self.cmd_sn), (28, self.exp_stat_sn))
        else:
            raise ProtocolError("the login does not end")
        self.header_digest = self.answers.get("HeaderDigest") == "CRC32C"
        self.data_digest = self.answers.get("DataDigest") == "CRC32C"
        # How much data one PDU may carry to the target, and a command with it.
        self.max_send = int(self.answers.get("MaxRecvDataSegmentLength", "8192"))
        # "Irrelevant" where neither immediate nor unsolicited data is allowed (RFC 7143 section 13.14).
        first_burst = self.answers.get("FirstBurstLength", "65536")
        first_burst = 0 if first_burst == "Irrelevant" else int(first_burst)
        # How much of a write goes with its command, and how much goes before the target asks for more.
        self.unsolicited = first_burst if self.answers.get("InitialR2T", "Yes") == "No" else 0
        self.immediate = min(self.max_send, first_burst) if self.answers.get("ImmediateData", "Yes") == "Yes" else 0

    def command_header(self, lun, cdb, itt, read, write, data_length, immediate=False, final=True):
        """The header of a SCSI Command PDU with the next CmdSN; not `final`: unsolicited Data-Out PDUs follow."""
        flags = (FINAL if final else 0) | (0x40 if read else 0) | (0x20 if write else 0) | 0x01
        header = bytearray(bhs(SCSI_COMMAND | (IMMEDIATE if immediate else 0), flags, lun, itt,
                               fields=((20, read or write), (24, self.cmd_sn), (28, self.exp_stat_sn)),
                               data_length=data_length))
        header[32:32 + len(cdb)] = cdb
        if not immediate:
            self.cmd_sn = (self.cmd_sn + 1) & 0xFFFFFFFF
        return bytes(header)

    def new_itt(self):
        """A fresh Initiator Task Tag."""
        self.next_itt = self.next_itt % 0x7FFFFFFF + 1
        return self.next_itt

    def window_open(self):
        """Whether the target takes one more command."""
        return self.max_cmd_sn is None or ((self.max_cmd_sn - self.cmd_sn) & 0xFFFFFFFF) < 0x80000000

    def submit(self, lun, cdb, data_out=b"", expected=0):
        """Sends a command with its immediate data; `reap` brings its outcome."""
        task = Task(self.new_itt(), data_out, expected)
        first = data_out[:self.immediate]
        self.tasks[task.itt] = task
        more = min(self.unsolicited, len(data_out)) - len(first)
        self.send(self.command_header(lun, cdb, task.itt, expected, len(data_out), len(first), final=more <= 0), first)
        if more > 0:
            self._data_out(task, bhs(DATA_OUT, lun=lun)[8:16], RESERVED_TAG, len(first), more)
        return task

    def reap(self):
        """Receives until some task ends, and returns that task."""
        while True:
            task = self.handle(self.receive())
            if task is not None:
                return task

    def handle(self, pdu):
        """Does what a PDU of a task or a ping asks for; returns the task that it ended."""
        if pdu.opcode == NOP_IN:
            if pdu.ttt != RESERVED_TAG:
                self.send(bhs(NOP_OUT | IMMEDIATE, FINAL, 0, RESERVED_TAG, pdu.ttt,
                              ((24, self.cmd_sn), (28, self.exp_stat_sn))))
            return None
        if pdu.opcode in (ASYNC, REJECT):
            raise ProtocolError(f"unexpected {pdu}")
        task = self.tasks.get(pdu.itt)
        if task is None:
            raise ProtocolError(f"{pdu} is for no task")
        if pdu.opcode == R2T:
            self._solicited(task, pdu)
        elif pdu.opcode == DATA_IN:
            offset = pdu.word(40)
            if offset + len(pdu.data) > len(task.data_in):
                raise ProtocolError(f"{pdu} is past the end")
            task.data_in[offset:offset + len(pdu.data)] = pdu.data
            if pdu.flags & 1:
                task.status = pdu.header[3]
        elif pdu.opcode == SCSI_RESPONSE:
            if pdu.header[2]:
                raise ProtocolError(f"iSCSI response 0x{pdu.header[2]:02x}")
            task.status = pdu.header[3]
            task.sense = pdu.data[2:]
        else:
            raise ProtocolError(f"unexpected {pdu}")
        if task.status is None:
            return None
        del self.tasks[task.itt]
        return task

    def manage(self, function, lun=0, task=None):
        """Task management, immediate; returns the response. Tasks that end meanwhile keep their outcome."""
        self.ask(function, lun, task)
        response = self.managed()
        if task is not None:
            self.tasks.pop(task.itt, None)
        return response

    def ask(self, function, lun=0, task=None):
        """Sends a task management request, immediate."""
        self.send(bhs(TASK_MANAGEMENT | IMMEDIATE, FINAL | function, lun, self.new_itt(), task.itt if task else RESERVED_TAG,
                      ((24, self.cmd_sn), (28, self.exp_stat_sn))))

    def managed(self):
        """The response to one."""
        while (pdu := self.receive()).opcode != TASK_RESPONSE:
            self.handle(pdu)
        return pdu.header[2]

    def _solicited(self, task, r2t):
        offset, length = r2t.word(40), r2t.word(44)
        if length == 0 or offset + length > len(task.data_out):
            raise ProtocolError(f"{r2t} asks for what is not there")
        # The LUN is the R2T's own.
        self._data_out(task, r2t.header[8:16], r2t.ttt, offset, length)

    def _data_out(self, task, lun, ttt, offset, length):
        """A sequence of Data-Out PDUs; `lun` is the field's 8 bytes."""
        data_sn = 0
        while length:
            now = min(length, self.max_send)
            length -= now
            header = bhs(DATA_OUT, 0 if length else FINAL, 0, task.itt, ttt,
                         ((28, self.exp_stat_sn), (36, data_sn), (40, offset)), now)
            self.send(header[:8] + lun + header[16:], task.data_out[offset:offset + now])
            offset += now
            data_sn += 1

    def execute(self, lun, cdb, data_out=b"", expected=0):
        """One command, to its end."""
        task = self.submit(lun, cdb, data_out, expected)
        while (done := self.reap()) is not task:
            raise ProtocolError(f"the outcome of another task, {done.itt}")
        return task

    def ready(self, lun):
        """TEST UNIT READY until the unit attentions of a new session are used up."""
        for _ in range(10):
            if self.execute(lun, bytes(6)).status == GOOD:
                return
        raise ProtocolError("the unit does not become ready")

    def capacity(self, lun):
        """(blocks, bytes of a block), by READ CAPACITY(16)."""
        data = self.execute(lun, bytes((0x9E, 0x10)) + bytes(11) + bytes((32, 0, 0)), expected=32).good().data_in
        last, size = struct.unpack_from(">QI", data)
        return last + 1, size

    def nop(self, data=b""):
        """A ping; returns what came back. No other command may be in flight."""
        itt = self.new_itt()
        self.send(bhs(NOP_OUT | IMMEDIATE, FINAL, 0, itt, RESERVED_TAG, ((24, self.cmd_sn), (28, self.exp_stat_sn)),
                      len(data)), data)
        while (pdu := self.receive()).itt != itt:
            if pdu.opcode != NOP_IN:
                raise ProtocolError(f"unexpected {pdu}")
        return pdu.data

    def logout(self, reason=0):
        """Ends the session politely (reason 1: only this connection) and closes the connection."""
        self.send(bhs(LOGOUT | IMMEDIATE, FINAL | reason, 0, self.new_itt(), self.cid << 16,
                      ((24, self.cmd_sn), (28, self.exp_stat_sn))))
        while (pdu := self.receive()).opcode != LOGOUT_RESPONSE:
            if pdu.opcode not in (NOP_IN, ASYNC):
                raise ProtocolError(f"unexpected {pdu}")
        self.close()


class Leg(Session):
    """One more connection of the session of `leading`, with which it shares CmdSN and the command window."""

    def __init__(self, address, leading, cid, timeout=10.0):
        self.leading = leading
        self.tsih, self.cid = leading.tsih, cid
        names = {key: leading.keys[key] for key in ("InitiatorName", "MaxConnections", "HeaderDigest", "DataDigest")}
        super().__init__(address, leading.keys["TargetName"], timeout=timeout, keys=names,
                         isid=int.from_bytes(leading.isid[1:4], "big"))
        # Tags are unique in the session.
        self.next_itt = (cid & 0x7F) << 24

    @property
    def cmd_sn(self):
        """CmdSN of the session's next command."""
        return self.leading.cmd_sn

    @cmd_sn.setter
    def cmd_sn(self, value):
        self.leading.cmd_sn = value

    @property
    def max_cmd_sn(self):
        """The end of the session's window."""
        return self.leading.max_cmd_sn

    @max_cmd_sn.setter
    def max_cmd_sn(self, value):
        # What another connection brought may be newer (RFC 7143 section 4.2.2.1).
        if (value - self.leading.max_cmd_sn) & 0xFFFFFFFF < 0x80000000:
            self.leading.max_cmd_sn = value


def read10(lba, blocks):
    """READ(10)."""
    return struct.pack(">BBIBHB", 0x28, 0, lba, 0, blocks, 0)


def write10(lba, blocks, fua=False):
    """WRITE(10)."""
    return struct.pack(">BBIBHB", 0x2A, 0x08 if fua else 0, lba, 0, blocks, 0)


def synchronize_cache10(lba=0, blocks=0, immed=False):
    """SYNCHRONIZE CACHE(10); 0 blocks mean all."""
    return struct.pack(">BBIBHB", 0x35, 0x02 if immed else 0, lba, 0, blocks, 0)
