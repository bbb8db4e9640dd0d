# SPDX-License-Identifier: Apache-2.0
"""The health check for load balancers and people."""
