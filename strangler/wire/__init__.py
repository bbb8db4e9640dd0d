# SPDX-License-Identifier: Apache-2.0
"""The wire: what bytes of HTTP/1.x mean and may look like. Pure: no clock, no socket, no chance.

`head` validates and reads heads, `framing` says where a message ends (RFC 9112 §6) and decodes
chunks, `forward` edits heads on their way (hop-by-hop fields, Forwarded, Via; RFC 9110 §7.6),
`repair` mends what names an upstream in a response, `proxy_status` writes RFC 9209.

Nothing here decides who answers or keeps anything; every other room may import it, and it
imports only the ground (`strangler.errors`).
"""
