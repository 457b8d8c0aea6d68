"""Times one weight update of every algorithm over depths, widths and batches."""
