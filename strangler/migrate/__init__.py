# SPDX-License-Identifier: Apache-2.0
"""The proof that a service can take a route's place: two answers to one request, compared.

`parity` tells whether a copy's answer is the reader's, and if not, by one word where it differs;
`normalise` takes out beforehand what differs between any two answers of one and the same site;
`ledger` counts, so that what was copied is what was found equal, different, failed or dropped.

Nothing here asks anybody anything: `exchange.shadowing.shadow` makes the copies.
"""
