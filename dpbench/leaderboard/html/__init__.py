"""The leaderboard as one page that needs no server, no network and no script."""

from dpbench.leaderboard.html.page import Page, make_page

__all__ = ["Page", "make_page"]
