# SPDX-License-Identifier: Apache-2.0
"""The health check."""

from unittest import mock

from django.test import TestCase

from . import views


class HealthTest(TestCase):
    def test_success(self) -> None:
        response = self.client.get("/healthcheck")
        body = response.json()
        self.assertEqual((response.status_code, body["status"]), (200, "success"))
        names = [result["checker"] for result in body["results"]]
        self.assertEqual(names, ["database connection", "cache", "media folder"])
        self.assertIn("no-store", response["Cache-Control"])

    def test_one_failure_fails_all_and_is_told(self) -> None:
        def fail() -> str:
            raise TimeoutError("Connection Timeout")

        with mock.patch.dict(views.CHECKS, {"redis connection": fail}):
            response = self.client.get("/healthcheck")
        self.assertEqual((response.status_code, response.json()["status"]), (503, "failure"))
        result = response.json()["results"][-1]
        self.assertEqual(result["output"], "TimeoutError: Connection Timeout")
        self.assertIs(result["passed"], False)
