"""Tables, plots and the page that are made of results."""

from dpbench.leaderboard.board import Leaderboard, load, print_leaderboard, write_leaderboard

__all__ = ["Leaderboard", "load", "print_leaderboard", "write_leaderboard"]
