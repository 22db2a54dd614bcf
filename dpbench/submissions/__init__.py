"""What third parties submit to a leaderboard, and whether it comes out when it is run again."""
