# SPDX-License-Identifier: Apache-2.0
"""Who says in User-Agent that it is a crawler.

A list of words, not a defence: who pretends to be a reader is treated as one. The name of a phone
may end in "bot" (CUBOT), and applications fetch with HTTP libraries (okhttp, CFNetwork): they have
readers in front of them, so a library's name is none of these words.
"""

from __future__ import annotations

import re
from typing import Final

#: Endings of words, with or without a plural: `Googlebot/2.1`, `bingbot;`, but not `robotics`.
ENDINGS: Final = (b"bot", b"crawler", b"spider", b"archiver", b"indexer")
#: Anywhere.
WORDS: Final = (
    b"mediapartners-google", b"google-inspectiontool", b"google-extended", b"feedfetcher",
    b"yahoo! slurp", b"facebookexternalhit", b"meta-externalagent", b"bingpreview",
    b"chatgpt-user", b"claude-web", b"perplexity-user", b"cohere-ai", b"whatsapp/",
    b"headlesschrome", b"scrapy", b"heritrix", b"nutch", b"httrack", b"bubing",
    b"siteimprove", b"screaming frog",
)  # fmt: skip
#: What stands before an ending that is something else: the CUBOT is a phone.
NOT_AFTER: Final = b"cu"

_ENDING: Final = re.compile(b"(?<!%b)(?:%b)s?(?![a-z])" % (NOT_AFTER, b"|".join(ENDINGS)))
#: What is looked at of the field: the longest honest one is shorter.
_LOOKED_AT: Final = 512


def is_crawler(user_agent: bytes | None) -> bool:
    """Tell whether *user_agent* names a crawler. Cost: a few us, so ask only where it matters.

    None (no such field) is no crawler: many things that aren't say nothing.
    """
    if user_agent is None:
        return False
    lower = user_agent[:_LOOKED_AT].lower()
    for word in WORDS:
        if word in lower:
            return True
    # Finding no ending at all is the common case, and far cheaper than the expression.
    for ending in ENDINGS:
        if ending in lower:
            return _ENDING.search(lower) is not None
    return False
