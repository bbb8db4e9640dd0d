# SPDX-License-Identifier: Apache-2.0
"""The proxy one writes first: Tornado's RequestHandler in front of its curl client."""

import asyncio
import sys

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.web import Application, RequestHandler

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}


class Proxy(RequestHandler):
    def initialize(self, origin: str) -> None:
        self.origin = origin

    async def get(self) -> None:
        headers = {k: v for k, v in self.request.headers.get_all() if k.lower() not in HOP_BY_HOP}
        answer = await AsyncHTTPClient().fetch(
            HTTPRequest(self.origin + self.request.uri, headers=headers, decompress_response=False),
            raise_error=False,
        )
        self.set_status(answer.code, answer.reason)
        for name, value in answer.headers.get_all():
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.set_header(name, value)
        self.finish(answer.body)


async def main(port: int, origin: str) -> None:
    AsyncHTTPClient.configure("tornado.curl_httpclient.CurlAsyncHTTPClient", max_clients=64)
    Application([(r"/.*", Proxy, {"origin": origin})]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
