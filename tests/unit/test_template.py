# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from strangler.template import Template


def test_fill() -> None:
    template = Template.parse("a:{slug}/{**}é")
    assert template.names == {"slug", "**"}
    assert template.fill({"slug": b"x", "**": b"y/z"}) == "a:x/y/zé".encode()
    assert template.fill({}) == "a:/é".encode()
    assert str(template) == "a:{slug}/{**}é"


@pytest.mark.parametrize("text", ["{", "}", "a{b", "{a b}", "{}", "{{a}}", "{*}"])
def test_a_lone_brace_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="stands alone"):
        Template.parse(text)
