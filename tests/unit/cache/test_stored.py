# SPDX-License-Identifier: Apache-2.0
import pytest
from unit.cache.build import NOW, cc, stored


def test_paragraph_2_age_advances_with_the_clock_and_never_backwards() -> None:
    one = stored(cc(b"max-age=60"), (b"Age", b"5"))
    assert [one.age(NOW + s) for s in (-100, 0, 1, 60)] == [5, 5, 6, 65]
    assert one.fresh_until == NOW + 55


def test_kept_until_the_longer_window_ends() -> None:
    one = stored(cc(b"max-age=60, stale-while-revalidate=5, stale-if-error=100"))
    assert one.kept_until == NOW + 160


@pytest.mark.parametrize(
    ("etag", "strong"), [(b'"a"', b'"a"'), (b'W/"a"', None), (b"a", None), (b"", None)]
)
def test_strong_tags(etag: bytes, strong: bytes | None) -> None:
    assert stored(cc(b"max-age=60"), (b"ETag", etag)).strong_etag == strong


def test_fields_read_back() -> None:
    one = stored(cc(b"max-age=60"), (b"X-A", b"1"))
    assert one.head.startswith(b"HTTP/1.1 200 Some Reason\r\n")
    assert one.fields.get(b"x-a") == b"1"
    assert one.fields.get(b"content-length") == b"10"
