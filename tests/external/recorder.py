"""A TCP proxy that writes what passes through it as a pcap file, for readers of captures on machines where nobody may
capture: it needs no privilege, and nothing is lost on the way.

The Ethernet, IPv4 and TCP headers are made up around the bytes that really passed, as a capture between two hosts without
loss would show them: handshake, segments with right numbers, each acknowledged by the next of the other side, and the
end. A chunk is written to the file before it is passed on, so that an answer never comes before what it answers.
"""

import contextlib
import socket
import struct
import threading
import time

SYN, FIN, PUSH, ACK = 0x02, 0x01, 0x08, 0x10
MOST_PAYLOAD = 32768
WINDOW = 65535
# The window is that times 256 (RFC 7323): how many bytes pass one way before one comes back is for the scheduler to say, and
# readers remark on a window that is full.
WINDOW_SCALE = bytes((1, 3, 3, 8))
# As the addresses of examples are.
CLIENT, SERVER = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
LINKTYPE_ETHERNET = 1


def _sum(data):
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Recorder:
    """Listens on 127.0.0.1, passes to `port` there and back, writes to `path`. In the file the server's port is `port`."""

    def __init__(self, path, port, listen):
        self.target = port
        self.lock = threading.Lock()
        self.file = open(path, "wb")  # pylint: disable=consider-using-with
        self.file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, LINKTYPE_ETHERNET))
        self.frames = 0
        self.threads = []
        self.listener = socket.create_server(("127.0.0.1", listen))
        self.port = listen
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, (_, client_port) = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                stream = _Stream(self, client_port)
                for source, sink, side in ((client, server, 0), (server, client, 1)):
                    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    thread = threading.Thread(target=self._pass, args=(source, sink, stream, side), daemon=True)
                    thread.start()
                    self.threads.append(thread)

    @staticmethod
    def _pass(source, sink, stream, side):
        with contextlib.suppress(OSError):
            while chunk := source.recv(MOST_PAYLOAD):
                stream.data(side, chunk)
                sink.sendall(chunk)
        # A reset is written as an end too: it is the initiator's tests that reset.
        stream.end(side)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def write(self, frame):
        """Adds a frame, now."""
        now = time.time_ns() // 1000
        self.file.write(struct.pack("<IIII", now // 1_000_000, now % 1_000_000, len(frame), len(frame)) + frame)
        self.frames += 1

    def close(self):
        """Waits for the ends of all connections and closes the file."""
        self.listener.close()
        for thread in self.threads:
            thread.join(10)
        with self.lock:
            self.file.close()


class _Stream:
    """One connection as the file has it. Side 0 is the client, 1 the server."""

    def __init__(self, recorder, client_port):
        self.recorder = recorder
        self.ports = (client_port, recorder.target)
        self.sequence = [1_000_000, 2_000_000]
        self.ended = [False, False]
        with recorder.lock:
            self._segment(0, SYN)
            self._segment(1, SYN | ACK)
            self._segment(0, ACK)

    def data(self, side, chunk):
        """Bytes from one side."""
        with self.recorder.lock:
            self._segment(side, PUSH | ACK, chunk)

    def end(self, side):
        """The end of one side; the second end is acknowledged."""
        with self.recorder.lock:
            self._segment(side, FIN | ACK)
            self.ended[side] = True
            if all(self.ended):
                self._segment(1 - side, ACK)

    def _segment(self, side, flags, payload=b""):
        """Writes one segment."""
        addresses = (CLIENT, SERVER) if side == 0 else (SERVER, CLIENT)
        acknowledged = self.sequence[1 - side] if flags & ACK else 0
        options = WINDOW_SCALE if flags & SYN else b""
        tcp = struct.pack(">HHIIBBHHH", self.ports[side], self.ports[1 - side], self.sequence[side], acknowledged,
                          5 + len(options) // 4 << 4, flags, WINDOW, 0, 0) + options
        pseudo = addresses[0] + addresses[1] + struct.pack(">HH", 6, len(tcp) + len(payload))
        tcp = tcp[:16] + struct.pack(">H", _sum(pseudo + tcp + payload)) + tcp[18:]
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp) + len(payload), 0, 0x4000, 64, 6, 0, *addresses)
        ip = ip[:10] + struct.pack(">H", _sum(ip)) + ip[12:]
        macs = [bytes((2, 0, 0, 0, 0, number)) for number in (2 - side, 1 + side)]
        self.recorder.write(macs[0] + macs[1] + b"\x08\x00" + ip + tcp + payload)
        self.sequence[side] += len(payload) + bool(flags & (SYN | FIN))
