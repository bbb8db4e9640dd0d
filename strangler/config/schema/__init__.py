# SPDX-License-Identifier: Apache-2.0
"""All options of routes.yaml: one row each, from which everything else about it comes.

Validation, `strangler schema` (JSON Schema) and docs/reference/routes-yaml.md are made of these
rows. A new option is a row here, a field in `snapshot` (or in its room's `policy`) of the same
name, and, if it is more than a value, a line in `build`.
"""

from __future__ import annotations

from typing import Final

from strangler.config.blocks import Block, Either, Many, Option
from strangler.config.scalars import Text, Whole
from strangler.config.schema.policies import DEFAULTS, PRESETS
from strangler.config.schema.routes import ROUTES
from strangler.config.schema.site import (
    LIMITS,
    LISTEN,
    OVERRIDES,
    OWNER,
    SITE,
    TIERS,
    TRACING,
    Workers,
)
from strangler.config.schema.upstreams import UPSTREAMS
from strangler.config.values import Address

VERSION: Final = 1

INCLUDE: Final = Many(
    Text(
        "a pattern such as routes.d/*.yaml",
        r"(?!/)(?!(.*/)?\.\.(/|$))[^\x00]+",
        located=True,
        hint="a path below this file's folder",
    )
)

FILE: Final = Block(
    "file",
    "routes.yaml itself.",
    (
        Option(
            name="version",
            kind=Whole(0, 1_000_000),
            required=True,
            example="1",
            doc="The version of the format.",
        ),
        Option(name="site", kind=SITE, doc="The site as its readers see it."),
        Option(
            name="listen",
            kind=Many(Either(Address(), mapping=LISTEN)),
            default="127.0.0.1:8000",
            example='["127.0.0.1:8000", "[::1]:8000"]',
            doc="Where to listen; `serve --listen` wins. Changes need a restart.",
        ),
        Option(
            name="admin",
            kind=Address(),
            default="127.0.0.1:8010",
            doc="Where admin API and console listen; `serve --admin` wins. Changes need a restart.",
        ),
        Option(
            name="workers",
            kind=Workers(1, 1024, "processes"),
            default="auto",
            doc="How many processes serve; auto is one a core. `serve --workers` wins.",
        ),
        Option(name="limits", kind=LIMITS, doc="What one client may ask."),
        Option(
            name="upstreams",
            kind=UPSTREAMS,
            example='{legacy: "http://127.0.0.1:8100"}',
            doc="Who answers, by name.",
        ),
        Option(name="tiers", kind=TIERS, doc="Where the cache lives."),
        Option(name="overrides", kind=OVERRIDES, doc="What operators choose at run time."),
        Option(name="tracing", kind=TRACING, doc="Traces by OpenTelemetry."),
        Option(name="defaults", kind=DEFAULTS, doc="The policies of a route that says nothing."),
        Option(name="presets", kind=PRESETS, doc="Policies under a name."),
        Option(
            name="include",
            kind=INCLUDE,
            example="routes.d/*.yaml",
            doc="Further files, each with a `prefix` that its routes stay under.",
        ),
        Option(
            name="routes",
            kind=ROUTES,
            required=True,
            example="{/**: legacy}",
            doc="Who takes which request, by `[METHOD[,METHOD]] [host]/path`.",
        ),
    ),
    name="a mapping of options",
)

INCLUDED: Final = Block(
    "included-file",
    "A file that `include` names.",
    (
        Option(
            name="prefix",
            kind=Many(Text("a path such as /busca", r"/[!-~]*", located=True, hint="begin with /")),
            required=True,
            example="/busca",
            doc="The paths that the file owns: itself and all below. A route outside is an error.",
        ),
        Option(
            name="owner",
            kind=OWNER,
            example="team-search",
            doc="Who answers for its routes and upstreams, unless they say otherwise.",
        ),
        Option(name="upstreams", kind=UPSTREAMS, doc="Further upstreams, for all files."),
        Option(name="presets", kind=PRESETS, doc="Further presets, for all files."),
        Option(name="routes", kind=ROUTES, required=True, doc="The routes under the prefix."),
    ),
    name="a mapping of options",
)
