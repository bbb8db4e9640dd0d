# SPDX-License-Identifier: Apache-2.0
"""The primary key: which requests ask for the same thing, before Vary has a say.

    https://www.example.com/busca?page=2&q=a
    a:service
    h:x-app=ios
    c:lang=pt

The first line is the URL as the upstream gets it: scheme, Host, path and query, byte for byte
(`%2F`, `//` and case survive), with the query as the route's key wants it. The lines after it are
the arm and the headers and cookies that the route names; an absent one has no line, an empty one
ends with `=`. No part can hold a line feed, `host` no slash and `path` no '?' (the heads are
validated), and the lines stand in one order, so two different requests never share a key.

A parameter that the key drops must not reach the upstream either, or a stranger could have it
reflected into a page that everybody gets: what is asked of the upstream is `Keying.target`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from strangler.cache.policy import KeyPolicy, QueryKey
from strangler.wire.head import RequestHead

#: Parameters that tell advertisers where a reader came from and the site nothing.
TRACKING: Final = frozenset(
    b"_ga _gl _hsenc _hsmi _kx dclid dm_i ef_id epik fb_action_ids fb_action_types fb_ref"
    b" fb_source fbclid gad_campaignid gad_source gbraid gclid gclsrc gdfms gdftrk gdffi hsa_acc"
    b" hsa_ad hsa_cam hsa_grp hsa_kw hsa_mt hsa_net hsa_src hsa_tgt hsa_ver hsctatracking igsh"
    b" igshid li_fat_id mc_cid mc_eid mkt_tok ml_subscriber ml_subscriber_hash msclkid"
    b" oly_anon_id oly_enc_id rb_clickid s_cid s_kwcid sc_campaign sc_channel sc_content"
    b" sc_country sc_geo sc_medium sc_outcome scid srsltid trk_contact trk_module trk_msg"
    b" trk_sid ttclid twclid vero_conv vero_id wbraid wickedid yclid ymclid ysclid".split()
)
TRACKING_PREFIXES: Final = (b"utm_", b"mtm_", b"pk_", b"piwik_", b"matomo_")

_ENCODED: Final = re.compile(rb"[%+]")


@dataclass(frozen=True)
class Keying:
    """A route's way to make keys, worked out once from its KeyPolicy."""

    policy: KeyPolicy
    raw_query: bool
    extra: bool

    @classmethod
    def compile(cls, policy: KeyPolicy) -> Keying:
        """Return the keying that *policy* describes."""
        query = policy.query
        return cls(
            policy=policy,
            raw_query=query.mode == "all" and not query.sort and not query.tracking,
            extra=bool(policy.headers or policy.cookies),
        )

    def target(self, request: RequestHead) -> bytes:
        """Return path and query as they are keyed, and as the upstream is to be asked."""
        if self.raw_query or not request.query:
            return request.rest
        query = canonical(request.query, self.policy.query)
        return b"%b?%b" % (request.path, query) if query else request.path

    def key(self, request: RequestHead, *, scheme: bytes = b"http", arm: bytes = b"") -> bytes:
        """Return the primary key of *request*, whatever its method (RFC 9111 §2).

        scheme: `http` or `https` as the reader asked · arm: which side answers, where the two
        sides' answers differ, else empty. Cost: < 1 us for a plain URL.
        """
        target = request.rest if self.raw_query else self.target(request)
        # With its port: a site may write the Host it was asked by into its pages.
        host = request.authority.lower() if self.policy.host else b""
        url = b"%b://%b%b" % (scheme, host, target)
        if not arm and not self.extra:
            return url
        parts = [url]
        if arm:
            parts.append(b"a:" + arm)
        for name in self.policy.headers:
            value = request.fields.combined(name)
            if value is not None:
                parts.append(b"h:%b=%b" % (name, value))
        if self.policy.cookies:
            parts += cookies(request, self.policy.cookies)
        return b"\n".join(parts)

    def url_key(self, *, scheme: bytes, host: bytes, target: bytes) -> bytes:
        """Return the first line of the keys of a URL that no request of ours named.

        For purging and invalidation: every key that `url_of` maps to it is meant.
        """
        path, _, query = target.partition(b"?")
        if query and not self.raw_query:
            query = canonical(query, self.policy.query)
            target = b"%b?%b" % (path, query) if query else path
        return b"%b://%b%b" % (scheme, host if self.policy.host else b"", target)


def url_of(key: bytes) -> bytes:
    """Return the URL that *key* is for, without what tells its several answers apart."""
    return key.partition(b"\n")[0]


def cookies(request: RequestHead, names: tuple[bytes, ...]) -> list[bytes]:
    """Return `c:name=value` for each cookie in *names* that *request* carries, in that order.

    Every occurrence counts: readers of Cookie differ on which of two wins (RFC 6265 §4.2.2), so
    a second one must not ride unseen into a page kept for the first.
    """
    pairs = [
        pair.strip(b" \t").partition(b"=")
        for line in request.all(b"cookie")
        for pair in line.split(b";")
    ]
    return [b"c:%b=%b" % (name, value) for name in names for key, _, value in pairs if key == name]


def canonical(query: bytes, rules: QueryKey) -> bytes:
    """Return *query* (without '?') filtered and sorted as *rules* say.

    Parameters are split at '&'; names are compared percent-decoded, so `%75tm_source` is
    tracked too. Sorting is by name and stable: the order of equal names means something.
    """
    kept: list[tuple[bytes, bytes]] = []
    for pair in query.split(b"&"):
        name = pair.partition(b"=")[0]
        if _ENCODED.search(name):
            name = unquote_to_bytes(name.replace(b"+", b" "))
        if pair and _belongs(name, rules):
            kept.append((name, pair))
    if rules.sort or rules.mode != "all":
        kept.sort(key=_by_name)
    return b"&".join([pair for _, pair in kept])


def _by_name(item: tuple[bytes, bytes]) -> bytes:
    return item[0]


def _belongs(name: bytes, rules: QueryKey) -> bool:
    if rules.mode == "allow":
        return name in rules.names
    if rules.tracking and (
        (lower := name.lower()) in TRACKING or lower.startswith(TRACKING_PREFIXES)
    ):
        return False
    return rules.mode == "all" or name not in rules.names
