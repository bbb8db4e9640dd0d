# SPDX-License-Identifier: Apache-2.0
"""Who says that it is a crawler."""

import pytest

from strangler.resilience.crawlers import ENDINGS, WORDS, is_crawler

CHROME = b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126 Safari"


@pytest.mark.parametrize(
    "agent",
    [
        b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        b"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        b"Mozilla/5.0 AppleWebKit/537.36; compatible; GPTBot/1.2; +https://openai.com/gptbot",
        b"Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
        b"Mozilla/5.0 (compatible; Baiduspider/2.0)",
        b"Mozilla/5.0 (compatible; Yahoo! Slurp)",
        b"facebookexternalhit/1.1",
        b"WhatsApp/2.23",
        b"ia_archiver",
        b"DuckDuckBot",
        b"CCBot/2.0 (https://commoncrawl.org/faq/)",
        b"Scrapy/2.11",
        b"AHREFSBOT/7.0",
    ],
)
def test_crawlers(agent: bytes) -> None:
    assert is_crawler(agent)


@pytest.mark.parametrize(
    "agent",
    [
        None,
        b"",
        CHROME,
        b"Mozilla/5.0 (Linux; Android 9; CUBOT X18 Plus) AppleWebKit/537.36",
        b"Mozilla/5.0 (Linux; Android 9; CUBOT_NOTE_7) AppleWebKit/537.36",
        b"okhttp/4.12.0",
        b"Dalvik/2.1.0 (Linux; U; Android 13)",
        b"robotics-reader/1.0",
        CHROME + b" " * 600 + b"Googlebot",
    ],
)
def test_readers(agent: bytes | None) -> None:
    assert not is_crawler(agent)


def test_the_words_are_written_as_they_are_looked_for() -> None:
    assert all(word == word.lower() for word in (*WORDS, *ENDINGS))
    assert len(set(WORDS)) == len(WORDS)
