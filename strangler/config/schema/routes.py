# SPDX-License-Identifier: Apache-2.0
"""What happens to a request, and the tests beside it."""

from __future__ import annotations

import re
from typing import Any, Final

from strangler.config.blocks import Block, Either, Many, Option, Table
from strangler.config.document import Mapping, Node, Scalar, Sequence
from strangler.config.kinds import Context, Rejected, printable
from strangler.config.scalars import Day, Regex, Switch, Text, Whole, Word
from strangler.config.schema.policies import FIELD_VALUES, POLICIES
from strangler.config.schema.site import FILE_NAME, OWNER
from strangler.config.values import NAME, TOKEN, SiteHost, StageKind, TemplateKind, Upstreamed


class StatusWord(Word):
    """One of a few statuses, as a number."""

    def parse(self, text: str, plain: bool) -> Any:
        if text not in self.words:
            raise Rejected(self.name, code="S106")
        return int(text)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"enum": [int(word) for word in self.words]}


MATCH: Final = Block(
    "match",
    "Conditions besides the key, all of which have to hold: the whole value fits the expression.",
    tuple(
        Option(
            name=name,
            kind=Table(Regex(), key=f"{what}", form=form, placeholder="NAME"),
            example=example,
            doc=doc,
        )
        for name, what, form, example, doc in (
            (
                "header",
                "the name of a header field",
                TOKEN,
                '{X-App: "ios|android"}',
                "Header fields; of several of one name the first counts.",
            ),
            ("cookie", "a cookie's name", TOKEN, '{beta: "1"}', "Cookies."),
            (
                "query",
                "a parameter's name",
                None,
                '{v: "[0-9]+"}',
                "Query parameters, decoded; of several of one name the first counts.",
            ),
        )
    ),
)

TEST_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

TEST: Final = Block(
    "test",
    "A question beside the route; `strangler check` asks it offline. Exactly one method.",
    (
        *(
            Option(
                name=method,
                kind=Text("a path such as /busca?q=x", r"/[!-\"$-~]*", hint="begin with /"),
                example="/checkout/" if method == "GET" else "",
                doc=f"The path, with query, of a {method} request.",
            )
            for method in TEST_METHODS
        ),
        Option(
            name="host",
            kind=SiteHost(),
            default="the first of `site.hosts`",
            example="www.example.com",
            doc="The request's host.",
        ),
        Option(name="header", kind=FIELD_VALUES, example="{X-App: ios}", doc="Header fields."),
        Option(
            name="cookie",
            kind=Table(
                Text("a cookie's value", r"[!#-+\--:<-\[\]-~]*"),
                key="a cookie's name",
                form=TOKEN,
            ),
            example="{beta: '1'}",
            doc="Cookies.",
        ),
        Option(
            name="goes_to",
            kind=Text("an upstream's name, redirect, gone or page", NAME, located=True),
            example="votar",
            doc="Who the route that takes it goes to: its `to`, whatever its stage; or "
            "`redirect`, `gone`, `page`.",
        ),
        Option(
            name="route",
            kind=Text("a route's key"),
            example="/checkout/**",
            doc="The key of the route that takes it.",
        ),
        Option(
            name="status",
            kind=Whole(200, 599),
            example="301",
            doc="The status of a redirect, gone or page.",
        ),
        Option(name="location", kind=Text(), example="/promo/", doc="Where a redirect leads."),
        Option(
            name="sends",
            kind=Text(),
            example="/v2/votar/1",
            doc="The path, with query, that the upstream sees.",
        ),
    ),
)

ROUTE: Final = Block(
    "route",
    "What happens to a request. An upstream's name in place of the mapping is `to`; a list holds "
    "several routes with one key and different `match`.",
    (
        Option(
            name="to",
            kind=Upstreamed(),
            example="materia",
            doc="The upstream. One of `to`, `redirect`, `gone`, `page` is needed.",
        ),
        Option(
            name="stage",
            kind=StageKind(),
            default="live",
            example="canary 5%",
            doc="Where the route is in its life: `legacy`, `shadow N%` (Django answers, N % of the "
            "safe requests are copied to the service), `canary N%`, `live`, `sealed`, `retired`.",
        ),
        Option(
            name="redirect",
            kind=TemplateKind("a path or URL such as /promo/{name}", location=True),
            example="/promo/",
            doc="Answer with a redirect to here; `{name}` and `{**}` are the path's parameters.",
        ),
        Option(
            name="keep_query",
            kind=Switch(),
            default="true",
            doc="Append the request's query to the redirect.",
        ),
        Option(
            name="gone",
            kind=StatusWord("404", "410", "451"),
            example="410",
            doc="Answer that there is nothing any more.",
        ),
        Option(
            name="page",
            kind=FILE_NAME,
            example="pages/back-soon.html",
            doc="Answer with this file of HTML.",
        ),
        Option(
            name="status",
            kind=Whole(200, 599),
            default="302 of a redirect, 200 of a page",
            example="301",
            doc="The status of a redirect (301, 302, 303, 307, 308) or a page.",
        ),
        Option(
            name="match",
            kind=MATCH,
            example='{header: {X-App: "ios|android"}}',
            doc="Conditions besides the key.",
        ),
        Option(
            name="rewrite",
            kind=TemplateKind("a path such as /v2/{name}", path=True),
            example="/v2/{**}",
            doc="The path to send; `{name}` and `{**}` are the parameters, in their raw bytes.",
        ),
        Option(
            name="strip",
            kind=Text("a path such as /api", r"/[!-~]+", located=True, hint="begin with /"),
            example="/api",
            doc="The first segments of the key, left out of the path that is sent.",
        ),
        Option(
            name="use",
            kind=Text("the name of a preset", NAME, located=True),
            example="news",
            doc="Take the policies of this preset; what the route says itself wins, whole.",
        ),
        *POLICIES,
        Option(
            name="owner",
            kind=OWNER,
            default="the upstream's",
            example="team-checkout",
            doc="Who answers for the route.",
        ),
        Option(
            name="until",
            kind=Day(),
            example="2026-12-31",
            doc="The last day of a temporary route; after it `check` fails and the proxy warns.",
        ),
        Option(
            name="tests",
            kind=Many(TEST, empty=True),
            example="[{GET: /checkout/, goes_to: votar}]",
            doc="Questions that `strangler check` asks.",
        ),
    ),
)

ROUTE_VALUE: Final = Either(
    Upstreamed(),
    mapping=ROUTE,
    sequence=Many(Either(Upstreamed(), mapping=ROUTE), single=False),
    name="an upstream's name, a mapping, or a list of these",
)


class RouteTable(Table):
    """The routes; who writes the upstream first and the path behind it is told so, once."""

    def read(self, node: Node, path: str, ctx: Context) -> Any:
        if not isinstance(node, Mapping):
            return super().read(node, path, ctx)
        others = Mapping([], node.place)
        for key, value in node.entries:
            turned = _turned(key.text, value)
            if not turned:
                others.entries.append((key, value))
                continue
            where, name = f"{path}.{printable(key.text)}", key.text
            message = f"expected a path that starts with /, got {name!r}"
            ctx.report(key.place, where, "S301", message, f"the path comes first: {turned}")
        return super().read(others, path, ctx)


def _turned(name: str, value: Node) -> str:
    """Return the route that is meant, where an upstream's *name* stands before a path, or ""."""
    whole = "{path}: {name}"
    if isinstance(value, Sequence):
        value = next(iter(value.items), value)
    elif isinstance(value, Mapping):
        whole = "{path}: {{to: {name}, ...}}"
        value = next((to for key, to in value.entries if key.text == "to"), value)
    if not isinstance(value, Scalar) or "/" not in value.text or not re.fullmatch(NAME, name):
        return ""
    path = printable(value.text)
    return whole.format(path=f'"{path}"' if path.startswith("*") else path, name=name)


ROUTES: Final = RouteTable(ROUTE_VALUE, key="a route's key", placeholder="KEY")
