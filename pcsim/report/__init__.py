"""Results in words: tables as text, Markdown or CSV."""
