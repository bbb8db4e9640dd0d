# SPDX-License-Identifier: Apache-2.0
"""What counts against an upstream's health."""

from typing import get_args

import pytest

from strangler.resilience.failure import WORDS, is_failure
from strangler.resilience.policy import FailureWord


@pytest.mark.parametrize("answer", ["connect", "timeout", "incomplete", 500, 502, 503, 504, 599])
def test_sick(answer: str | int) -> None:
    assert is_failure(answer)


@pytest.mark.parametrize("answer", ["busy", "breaker", 200, 302, 404, 429, 499, 501, 505])
def test_not_sick(answer: str | int) -> None:
    assert not is_failure(answer)


def test_the_words_are_those_of_routes_yaml() -> None:
    assert set(get_args(FailureWord)) >= WORDS
