# SPDX-License-Identifier: Apache-2.0
"""The console: the pages that the admin listener serves, and the document that they show.

`static/` holds the pages, plain files that a browser runs as they are. Everything that they show is
one document (`document`), shaped here from what the control process knows.
"""
