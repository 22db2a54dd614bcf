"""Looking after a machine and its runs: what is there, what is wrong, what may go."""
