# SPDX-License-Identifier: Apache-2.0
"""Article pages (`/noticia/<slug>.ghtml`), extracted from the monolith.

The service renders from a store of its own, which the monolith's publication log keeps fresh:
events pushed over HTTP, and a re-sync that makes up for those that were lost. It shares no code
and no database with the monolith; what crosses between them is the event of `event.py`.
"""
