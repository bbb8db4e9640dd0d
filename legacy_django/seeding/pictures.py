# SPDX-License-Identifier: Apache-2.0
"""Draw small landscapes of the valley, so that the gallery is not empty."""

import math
import struct
import zlib

WIDTH, HEIGHT = 640, 400
TITLES = (
    *("Amanhecer em Monte Belo do Vale", "Serra Dourada vista do mirante", "Fim de tarde no lago"),
    *("Neblina em Itaperi", "Campos de Jacarandá", "Noite de lua em Porto Sereno"),
)
# Sky at the top, sky at the horizon, near hills; red, green, blue of 0..255.
PALETTES = (
    ((62, 96, 150), (250, 204, 150), (36, 82, 58)),
    ((96, 152, 208), (224, 238, 244), (64, 110, 60)),
    ((88, 58, 110), (246, 150, 96), (40, 44, 70)),
    ((150, 164, 174), (228, 232, 232), (78, 98, 96)),
    ((72, 148, 212), (238, 244, 214), (122, 138, 50)),
    ((12, 18, 48), (64, 84, 130), (14, 28, 34)),
)
Colour = tuple[int, int, int]


def blend(one: Colour, two: Colour, share: float) -> Colour:
    """Mix two colours; share 0 is the first, 1 the second."""
    return tuple(round(a + (b - a) * share) for a, b in zip(one, two, strict=True))


def landscape(number: int) -> bytes:
    """Return a PNG of three ranges of hills under a sky."""
    top, horizon, near = PALETTES[number % len(PALETTES)]
    hills = [blend(horizon, near, share) for share in (0.45, 0.7, 1.0)]
    edges = [
        [
            round(
                HEIGHT * (0.5 + 0.14 * depth)
                + HEIGHT * 0.06 * math.sin(x / (60 + 25 * depth) + number * 2 + depth)
                + HEIGHT * 0.03 * math.sin(x / 23 + number + 3 * depth)
            )
            for x in range(WIDTH)
        ]
        for depth in range(3)
    ]
    rows = []
    for y in range(HEIGHT):
        sky = blend(top, horizon, min(1.0, y / (HEIGHT * 0.6)))
        row = bytearray(b"\0" + bytes(sky) * WIDTH)  # each row begins with its filter, none
        for colour, edge in zip(hills, edges, strict=True):
            for x in range(WIDTH):
                if y >= edge[x]:
                    row[1 + 3 * x : 4 + 3 * x] = bytes(colour)
        rows.append(bytes(row))
    return png(b"".join(rows))


def png(rows: bytes) -> bytes:
    """Pack filtered 8-bit RGB rows into a PNG file."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
