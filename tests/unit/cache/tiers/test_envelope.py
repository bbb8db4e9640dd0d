# SPDX-License-Identifier: Apache-2.0
"""Envelopes and slices: read back whole, or not at all."""

from strangler.cache.tiers.envelope import Envelope, open_slice, pack, seal_slice, unpack

ONE = Envelope(1_795_451_302_961_723, 1.5, 61.5, 2**62, 7, b"the record")


def test_envelopes_read_back() -> None:
    assert unpack(pack(ONE)) == ONE


def test_envelopes_of_version_1_are_read_for_ever() -> None:
    kept = (
        "01000660f4151fe23b3ff8000000000000404ec00000000000400000000000000000000007"
        "df7fea55746865207265636f7264"
    )
    assert unpack(bytes.fromhex(kept)) == ONE


def test_what_is_cut_altered_or_newer_is_no_envelope() -> None:
    whole = pack(ONE)
    head = len(whole) - len(ONE.record)
    for size in range(head):
        assert unpack(whole[:size]) is None
    for at in range(head):
        for flip in (0x01, 0x80):
            assert unpack(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]) is None
    assert unpack(b"\x02" + whole[1:]) is None


def test_slices_read_back_or_not_at_all() -> None:
    sealed = seal_slice(b"data")
    assert open_slice(sealed) == b"data"
    assert open_slice(seal_slice(b"")) == b""
    assert open_slice(None) is None
    for at in range(len(sealed)):
        assert open_slice(sealed[:at]) is None
        assert open_slice(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]) is None
