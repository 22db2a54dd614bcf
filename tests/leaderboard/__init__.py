"""The leaderboard, on made-up results."""
