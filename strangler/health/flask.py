# SPDX-License-Identifier: Apache-2.0
"""The health check for Flask: `app.register_blueprint(blueprint(health))`."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from strangler.health.checks import Health


def blueprint(health: Health, url: str = "/healthcheck") -> Blueprint:
    """Return a blueprint that answers at *url*: 200, or 503 where a check failed."""
    made = Blueprint("healthcheck", __name__)

    @made.get(url)
    def healthcheck() -> Response:
        told = health.document_now()
        answer = jsonify(told)
        answer.status_code = 200 if told["status"] == "success" else 503
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return made
