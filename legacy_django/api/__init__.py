# SPDX-License-Identifier: Apache-2.0
"""The JSON API: articles for partners, and the publication log for other systems."""
