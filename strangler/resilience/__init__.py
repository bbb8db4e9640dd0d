# SPDX-License-Identifier: Apache-2.0
"""Expecting failure: deadlines, retries, budgets, breakers, bulkheads. Pure; clock passed in.

`policy` holds what routes.yaml says; the state machines that act on it stand beside it. Nothing
here reads a clock, draws a random number or touches a socket by itself.
"""
