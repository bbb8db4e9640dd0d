# SPDX-License-Identifier: Apache-2.0
"""Readers' accounts: login, logout, registration, profile and the session bar."""
