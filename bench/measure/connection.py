"""A keep-alive connection over loopback that counts its requests as the API server does."""

import collections
import contextlib
import http.client
import json
import ssl
import time


class Connection:
    def __init__(self, port, token=None, counts=None):
        self.port, self.token = port, token
        self.counts = counts if counts is not None else collections.Counter()
        self.open = None

    def connect(self):
        if self.token:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.open = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=700, context=context)
        else:
            self.open = http.client.HTTPConnection("127.0.0.1", self.port, timeout=700)
        self.open.connect()

    def call(self, method, path, body=None, count=None, content_type="application/json"):
        """The body of an answer. `count` is the request's (verb, resource, subresource)."""
        headers = {"Authorization": "Bearer " + self.token} if self.token else {}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers["Content-Type"] = content_type
        for attempt in (0, 1):
            try:
                if self.open is None:
                    self.connect()
                self.open.request(method, path, data, headers)
                response = self.open.getresponse()
                raw = response.read()
                break
            except (http.client.HTTPException, OSError):
                self.open = None
                if attempt:
                    raise
        if count:
            self.counts[count] += 1
        if response.status not in (200, 201, 202):
            raise RuntimeError(f"{method} {path}: {response.status} {raw[:500]!r}")
        return raw

    def json(self, *args, **kwargs):
        return json.loads(self.call(*args, **kwargs) or b"null")


def wait_for(holds, limit, what):
    """Waits until something holds that cannot be asked for until a server is there."""
    deadline = time.time() + limit
    while True:
        with contextlib.suppress(RuntimeError, OSError, http.client.HTTPException):
            if holds():
                return
        if time.time() > deadline:
            raise RuntimeError(f"{what} did not come up in {limit} s")
        time.sleep(0.1)
