"""What results say beyond a table: what moved, what explains the spread, how runs join."""
