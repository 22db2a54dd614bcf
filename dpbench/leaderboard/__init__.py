"""Tables, plots and the page that are made of results."""

from dpbench.leaderboard.board import Leaderboard, load
from dpbench.leaderboard.finished import FinishedTrial
from dpbench.leaderboard.render import print_leaderboard, render
from dpbench.leaderboard.view import View
from dpbench.leaderboard.write import Written, private_notice, write_board, write_leaderboard

__all__ = [
    "FinishedTrial",
    "Leaderboard",
    "View",
    "Written",
    "load",
    "print_leaderboard",
    "private_notice",
    "render",
    "write_board",
    "write_leaderboard",
]
