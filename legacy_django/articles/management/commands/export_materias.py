# SPDX-License-Identifier: Apache-2.0
"""Write the articles' documents as JSON lines, for a first fill of another system."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from articles import publication


class Command(BaseCommand):
    """Write one event a line: the newest of every address, as /api/publicacoes/ gives it."""

    help = "Writes the newest publication event of every article, one JSON object a line."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--after", type=int, default=0, help="only what has a greater seq")

    def handle(self, *args: Any, after: int, **options: Any) -> None:
        for event in publication.latest(after):
            self.stdout.write(json.dumps(event, ensure_ascii=False))
