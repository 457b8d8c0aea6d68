"""What waits for what: calendars, task graphs, counts, timelines."""
