# SPDX-License-Identifier: Apache-2.0
"""Services taken out of the monolith, one folder each; each runs alone and imports no other."""
