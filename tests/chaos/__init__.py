# SPDX-License-Identifier: Apache-2.0
"""The whole site under a steady load while one thing after another fails: `make chaos`.

A fault is one function of `chaos.faults`: it breaks something real, mends it, and says which
figures must hold. `chaos.site` runs Django, materia and the edge, `chaos.readers` asks them at a
steady rate and compares every answer to the byte, `chaos.trial` takes the figures.
"""
