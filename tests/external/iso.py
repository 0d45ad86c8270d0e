"""A small ISO 9660 image: a few files and the MD5SUMS of all of them, and a boot sector (El Torito) that says BOOTED on the
first serial port. It ends within a block of 2048 bytes, as images for discs and disks alike may."""

import hashlib
import random
import struct

BLOCK = 2048
SEED = 20261121
BOOTED = b"booted from the disc\r\n"
# cli; cld; the message's address by its distance from here; each byte of it to port 3F8h; hlt, for ever.
BOOT_SECTOR = bytes.fromhex("fa fc e8 0000 5e 0e 1f 83c614 ac 84c0 7406 baf803 ee ebf5 f4 ebfd") + BOOTED + b"\0"


def both(number, size):
    """A number in both byte orders (ISO 9660 7.2.3 and 7.3.3)."""
    return number.to_bytes(size, "little") + number.to_bytes(size, "big")


def blocks(length):
    """How many blocks that many bytes take."""
    return -(-length // BLOCK)


def record(name, extent, length, directory=False):
    """A directory record (9.1)."""
    date = bytes((126, 11, 21, 12, 0, 0, 0))
    body = (b"\0" + both(extent, 4) + both(length, 4) + date + bytes((2 if directory else 0, 0, 0)) + both(1, 2)
            + bytes((len(name),)) + name + (b"" if len(name) % 2 else b"\0"))
    return bytes((len(body) + 1,)) + body


def contents():
    """The files by name, the last of them no whole number of blocks."""
    rng = random.Random(SEED)
    files = {"EMPTY.DAT": b"", "ONE.DAT": b"x", "BLOCK.DAT": rng.randbytes(BLOCK), "LARGE.DAT": rng.randbytes(3 << 20)}
    files["LAST.DAT"] = rng.randbytes(5 * BLOCK + 700)
    sums = "".join(f"{hashlib.md5(data).hexdigest()}  {name.lower()}\n" for name, data in files.items())
    return {"MD5SUMS": sums.encode(), **files}


def catalogue(extent):
    """The boot catalogue of El Torito: a validation entry, and one boot image without emulation."""
    validation = bytearray(bytes((1, 0, 0, 0)) + b"ringsan".ljust(24, b"\0") + b"\0\0\x55\xaa")
    struct.pack_into("<H", validation, 28, -sum(struct.unpack("<16H", validation)) & 0xffff)
    return bytes(validation) + struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, extent)


def write(path):
    """Writes the image; returns its content."""
    files = contents()
    # System area, descriptors from 16 on, path tables at 19 and 20, the root directory, boot catalogue and boot sector.
    at, placed = 24, []
    for name, data in files.items():
        placed.append((name.encode() + b";1", at, data))
        at += blocks(len(data))
    root = record(b"\0", 21, BLOCK, True)
    entries = root + record(b"\1", 21, BLOCK, True)
    entries += b"".join(record(name, extent, len(data)) for name, extent, data in sorted(placed))
    table = bytes((1, 0)) + struct.pack("<IH", 21, 1) + b"\0\0"
    other_table = bytes((1, 0)) + struct.pack(">IH", 21, 1) + b"\0\0"
    primary = (b"\1CD001\1\0" + b" " * 32 + b"RINGSAN_TEST".ljust(32) + bytes(8) + both(at, 4) + bytes(32)
               + both(1, 2) + both(1, 2) + both(BLOCK, 2) + both(len(table), 4) + struct.pack("<II", 19, 0)
               + struct.pack(">II", 20, 0) + root + b" " * 623 + b"2026112112000000\0" * 2 + b"0" * 16 + b"\0"
               + b"0" * 16 + b"\0" + b"\1\0")
    boot = b"\0CD001\1" + b"EL TORITO SPECIFICATION".ljust(64, b"\0") + struct.pack("<I", 22)
    parts = [(16, primary), (17, boot), (18, b"\xffCD001\1"), (19, table), (20, other_table), (21, entries)]
    parts += [(22, catalogue(23)), (23, BOOT_SECTOR)]
    image = bytearray()
    for extent, data in parts + [(extent, data) for _, extent, data in placed]:
        image += bytes(extent * BLOCK - len(image)) if data else b""
        image += data
    path.write_bytes(image)
    return bytes(image)
