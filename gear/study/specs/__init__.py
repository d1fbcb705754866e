"""What each table, figure and claim shows, as data that its job receives."""
