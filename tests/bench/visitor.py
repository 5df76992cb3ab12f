"""A signed-in person for benchmarks of a served installation, and how their figures are printed."""

from __future__ import annotations

import statistics
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

from tests.served import Site


class Browser:
    """A signed-in person: cookies, forms, pages."""

    def __init__(self, site: Site) -> None:
        self.jar = CookieJar()
        self.open = build_opener(HTTPCookieProcessor(self.jar)).open
        self.address = site.address
        self.get("/login/")
        self.post("/login/", username="admin", password=site.password)

    def get(self, path: str, *, part: bool = False) -> str:
        request = Request(self.address + path, headers={"HX-Request": "true"} if part else {})
        with self.open(request, timeout=60) as answer:
            return str(answer.read().decode())

    def post(self, path: str, **values: str) -> str:
        """Return the URL the answer led to."""
        values["csrfmiddlewaretoken"] = self.cookie("csrftoken")
        request = Request(self.address + path, data=urlencode(values).encode(), headers={"Referer": self.address})
        with self.open(request, timeout=60) as answer:
            answer.read()
            return str(answer.url)

    def cookie(self, name: str) -> str:
        return next((cookie.value or "" for cookie in self.jar if cookie.name == name), "")


def figures(values: list[float]) -> str:
    """Return p50, p95 and maximum in ms."""
    if len(values) < 2:
        return "too few"
    high = statistics.quantiles(values, n=20)[-1]
    return f"p50 {statistics.median(values) * 1000:6.0f}  p95 {high * 1000:6.0f}  max {max(values) * 1000:6.0f} ms ({len(values)})"
