# SPDX-License-Identifier: Apache-2.0
"""The project: settings, URLs and the page shell of Gazeta do Vale."""
