"""Search the web through `ddgs`, which asks several public search engines without a key.

`ddgs` brings its own client (search engines turn others away): it asks fixed addresses only, takes a time limit, and cannot be
hung up, so Stop ends the wait and leaves the request to run out. Result pages are not opened.
"""

from __future__ import annotations

from typing import Any

from ddgs import DDGS
from ddgs.exceptions import DDGSException

from demos.agent.tools.actions import Action, tool_api
from demos.agent.tools.workplace import ToolFailure, Workplace

SECONDS, MOST_RESULTS, MOST_QUERY, MOST_BODY = 8, 10, 400, 500


class WebSearch(Action):
    """Search the web for current information: titles, addresses and excerpts of the pages found."""

    def __init__(self, workplace: Workplace, *, engines: str = "auto") -> None:
        super().__init__(workplace)
        self._engines = engines

    @tool_api
    def run(self, query: str, max_results: int = 5) -> str:
        """Search the web for current information: titles, addresses and excerpts of the pages found.

        Args:
            query (str): what to search for
            max_results (int): how many results, 1 to 10
        """
        if not query.strip():
            raise ToolFailure("The query is empty.", "Say what to search for.")
        most = max(1, min(max_results, MOST_RESULTS))
        try:
            found = DDGS(timeout=SECONDS).text(query[:MOST_QUERY], max_results=most, backend=self._engines)
        except DDGSException as error:
            if "No results" in str(error):
                return "Nothing was found."
            raise ToolFailure(f"The search did not work: {str(error)[:200]}.", "Try again later, or answer without it.") from error
        return "\n\n".join(_entry(number, item) for number, item in enumerate(found[:most], 1))


def _entry(number: int, item: dict[str, Any]) -> str:
    title, address, body = (" ".join(str(item.get(key, "")).split()) for key in ("title", "href", "body"))
    return f"{number}. {title[:200]}\n{address[:500]}\n{body[:MOST_BODY]}"
